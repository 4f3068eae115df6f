"""CIFAR-10 in its binary version."""

from pathlib import Path

import numpy as np

from flowkit.data.bounded import FileError, check_shape
from flowkit.data.dataset import Dataset
from flowkit.data.validate import validate_labels

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_RECORD = 1 + 32 * 32 * 3  # bytes: the label, then all reds, greens and blues


def find_cifar10(folder: Path) -> Path | None:
    """Return `folder`, or the folder of CIFAR-10's archive in it, if one holds the batches; None otherwise.

    Raises FileError for CIFAR-10's Python version, which is pickled.
    """
    for place in (folder, folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"):
        if any((place / name).is_file() for names in _FILES.values() for name in names):
            return place
        if any((place / name).is_file() for name in ("data_batch_1", "test_batch")):
            raise FileError(
                f"{place}: expected CIFAR-10's binary version, received its Python version, whose pickles could run "
                "any code. Unpack cifar-10-binary.tar.gz, or download the parquet files from Hugging Face."
            )
    return None


def read_cifar10(folder: Path, split: str, max_bytes: int) -> Dataset:
    """Return 50,000 train or 10,000 test images, uint8 (n, 32, 32, 3), and their labels."""
    records = [_read(folder / name) for name in _FILES[split]]
    check_shape((sum(map(len, records)), _RECORD), 1, max_bytes, str(folder))
    joined = np.concatenate(records)
    images = joined[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = validate_labels(joined[:, 0], len(joined), name=str(folder))
    return Dataset(images, labels, 256, str(folder), CLASSES)


def _read(path):
    """Return the records of one file, (n, bytes)."""
    raw = np.fromfile(path, np.uint8)
    if not len(raw) or len(raw) % _RECORD or raw[::_RECORD].max() >= len(CLASSES):
        raise FileError(
            f"{path}: expected records of {_RECORD:,} bytes that begin with a label of 0 to 9, received {len(raw):,} "
            "bytes of something else. Check that this is CIFAR-10 (not CIFAR-100) in its binary version."
        )
    return raw.reshape(-1, _RECORD)
