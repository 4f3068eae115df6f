"""Files of equal flows are equal, byte for byte, and mean what they meant."""

import contextlib
import json
import os
import zipfile

import keras
import numpy as np
import pytest

from flowkit import Flow, zoo
from flowkit.bijectors import Chain, Coupling, Permute
from flowkit.conditioners import MLP
from flowkit.engines import engine
from flowkit.transforms import Affine

pytestmark = pytest.mark.two_engines

TRAIN = """
    import hashlib, sys, time
    import flowkit, keras, numpy as np
    keras.utils.set_random_seed(int(sys.argv[2]))
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype="uint8")
    flow = flowkit.zoo.glow(levels=2, steps=1, width=4)
    flow.compile(flowkit.training.GlowAdamax(flowkit.training.WarmUp(1e-3, warmup_steps=10)))
    flow.fit(images, epochs=1, verbose=0)
    flow.save(sys.argv[1])
    print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())
"""


@pytest.mark.long
def test_two_trainings_in_two_processes_come_to_the_same_file(run_python, tmp_path):
    first, second, other = (
        run_python(TRAIN, engine=engine.name, args=[tmp_path / name, seed]).splitlines()[-1]
        for name, seed in (("a.keras", 0), ("b.keras", 0), ("c.keras", 1))
    )
    assert first == second != other


def coupled(**options):
    net = MLP([4], activation=keras.activations.tanh)
    return Flow(Chain([Coupling(net, Affine(min_scale=0.1)), Permute("reverse")]), **options)


def saved(flow, path, **options):
    flow.save(path, **options)
    return path


def test_a_file_says_neither_when_nor_where_in_memory(tmp_path):
    shared = keras.dtype_policies.DTypePolicy("float32")  # one object in several layers
    flow = Flow(Chain([Coupling(MLP([4], dtype=shared)), Permute(), Coupling(MLP([4], dtype=shared))]))
    flow.build((None, 4))
    with zipfile.ZipFile(saved(flow, tmp_path / "f.keras")) as file:
        config, metadata = (file.read(f"{name}.json").decode() for name in ("config", "metadata"))
        assert {member.date_time for member in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert file.testzip() is None
    assert json.loads(metadata)["keras_version"] == keras.__version__
    assert json.loads(metadata)["date_saved"].startswith("1980")
    numbers = [int(part.split("}")[0].split(",")[0]) for part in config.split('"shared_object_id": ')[1:]]
    assert numbers
    assert set(numbers) == set(range(1, max(numbers) + 1))


def test_the_file_is_read_as_before(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 1), dtype="uint8")
    flow = zoo.glow(levels=2, steps=1, width=4).adapt(images)
    flow.compile("adam")
    keras.saving.save_model(flow, tmp_path / "old.keras")  # as files were written before
    again = [
        keras.saving.load_model(path)
        for path in (tmp_path / "old.keras", saved(flow, tmp_path / "new.keras"))
    ]
    for one in again:
        np.testing.assert_array_equal(one.log_prob(images), flow.log_prob(images))
        assert isinstance(one.optimizer, keras.optimizers.Adam)


def test_an_unzipped_one_too(tmp_path):
    flow = coupled()
    flow.build((None, 4))
    folders = [saved(flow, tmp_path / name, zipped=False) for name in ("a", "b")]
    one, other = ({p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()} for folder in folders)
    assert one == other
    assert b"1980" in one["metadata.json"]
    assert keras.saving.load_model(folders[0]).event_shape == (4,)


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


@pytest.mark.parametrize("zipped", [True, False])
def test_a_full_disk_leaves_the_older_file(tmp_path, zipped):
    flow = coupled()
    flow.build((None, 4))
    path = saved(flow, tmp_path / "f.keras", zipped=zipped)
    before = contents(path)
    flow.set_weights([weight + 1 for weight in flow.get_weights()])
    with largest_file(1000), pytest.raises(OSError, match=r"[Ff]ile too large"):
        flow.save(path, zipped=zipped)
    assert contents(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.keras"]
    saved(flow, path, zipped=zipped)
    assert contents(path) != before


def test_a_full_disk_leaves_no_part_of_a_preset(tmp_path):
    flow = coupled()
    flow.build((None, 4))
    with largest_file(1000), pytest.raises(OSError, match=r"[Ff]ile too large"):
        flow.save_to_preset(tmp_path / "preset")
    assert not list(tmp_path.iterdir())


def contents(path):
    return {p.name: p.read_bytes() for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file()}
