"""A file is replaced as a whole, or left as it was."""

import contextlib
import os

import keras
import pytest

from flowkit import Flow
from flowkit.bijectors import Chain, Coupling, Permute
from flowkit.conditioners import MLP
from flowkit.transforms import Affine

pytestmark = pytest.mark.two_engines


def coupled():
    net = MLP([4], activation=keras.activations.tanh)
    return Flow(Chain([Coupling(net, Affine(min_scale=0.1)), Permute("reverse")]))


def saved(flow, path):
    flow.save(path)
    return path


def test_nothing_is_left_beside_it_and_a_link_stays_one(tmp_path):
    flow = coupled()
    flow.build((None, 4))
    target = saved(flow, tmp_path / "f.keras")
    os.symlink(target, tmp_path / "link.keras")
    saved(flow, tmp_path / "link.keras")
    assert (tmp_path / "link.keras").is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.keras", "link.keras"]


@contextlib.contextmanager
def largest_file(size):
    """A scope in which no file may grow beyond so many bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_older_file(tmp_path):
    flow = coupled()
    flow.build((None, 4))
    path = saved(flow, tmp_path / "f.keras")
    before = path.read_bytes()
    flow.set_weights([weight + 1 for weight in flow.get_weights()])
    with largest_file(1000), pytest.raises(OSError, match=r"[Ff]ile too large"):
        flow.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.keras"]
    saved(flow, path)
    assert path.read_bytes() != before


def test_a_full_disk_leaves_no_part_of_a_preset(tmp_path):
    flow = coupled()
    flow.build((None, 4))
    with largest_file(1000), pytest.raises(OSError, match=r"[Ff]ile too large"):
        flow.save_to_preset(tmp_path / "preset")
    assert not list(tmp_path.iterdir())
