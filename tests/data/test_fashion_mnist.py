"""The embedded part of Fashion-MNIST, the script that cut it, and the full set."""

import numpy as np
import pytest

from flowkit.data import load, source
from tests.data import cut_fashion_mnist

pytestmark = pytest.mark.one_engine


def test_embedded_arrays_are_the_stated_ones():
    with np.load(source.EMBEDDED, allow_pickle=False) as arrays:
        assert cut_fashion_mnist.arrays_sha256(arrays) == cut_fashion_mnist.EMBEDDED_SHA256
        assert {name: arrays[name].dtype for name in arrays} == dict.fromkeys(arrays, np.uint8)


@pytest.mark.parametrize(("split", "count"), [("train", 5000), ("test", 1000)])
def test_embedded_is_balanced_and_so_is_every_prefix(split, count):
    data = load("fashion-mnist", split)
    assert data.images.shape == (count, 28, 28, 1)
    assert data.images.dtype == np.uint8
    assert data.labels.dtype == np.int64
    assert data.levels == 256
    assert (np.sort(data.labels.reshape(-1, 10)) == np.arange(10)).all()


def test_full_set_is_read_from_where_debian_puts_it(mnist_folder, monkeypatch):
    monkeypatch.setattr(source, "FULL", mnist_folder)
    train, data = load("fashion-mnist-full"), load("fashion-mnist-full", "test")
    assert (train.images.shape, data.images.shape) == ((30, 28, 28, 1), (20, 28, 28, 1))
    assert data.labels.tolist() == [*range(10), *range(10)]
    assert data.classes[1] == "Trouser"


def test_absent_full_set_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "FULL", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        load("fashion-mnist-full")
