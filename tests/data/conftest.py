"""Files to load, written fresh for each test."""

import gzip

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def write_idx():
    def write(path, array, packed=None):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        raw = header + array.astype(np.uint8).tobytes()
        packed = path.suffix == ".gz" if packed is None else packed
        path.write_bytes(gzip.compress(raw) if packed else raw)
        return path

    return write


@pytest.fixture
def mnist_folder(tmp_path, rng, write_idx):
    """A folder of MNIST's four files with 30 + 20 images of 28x28, two images per class in each."""
    for prefix, count in (("train", 30), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28))
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return tmp_path


@pytest.fixture
def save_image():
    def save(path, array, **options):
        from PIL import Image

        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)
        return path

    return save
