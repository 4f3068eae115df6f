"""Images as raw bytes: IDX files, the format of MNIST and its like, gzipped or not; and CIFAR-10's binary version."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_shape, reading
from flowkit.data.dataset import Dataset
from flowkit.data.validate import validate_labels

_UNSIGNED = b"\0\0\x08"
_PREFIX = {"train": "train", "test": "t10k"}

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_RECORD = 1 + 32 * 32 * 3  # bytes: the label, then all reds, greens and blues

# IDX


def read_idx(path: Path, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Return the unsigned bytes in an IDX file, in the shape that its header states.

    Raises FileError if it is not an IDX file of unsigned bytes, is cut short, or takes more than `max_bytes`.
    """
    with reading(path, "an IDX file of unsigned bytes, neither cut short nor damaged"), _opened(path) as file:
        start = file.read(4)
        if start[:3] != _UNSIGNED:
            raise ValueError(f"it starts with {start.hex(' ') or 'nothing'}")
        shape = np.frombuffer(file.read(4 * start[3]), ">u4", start[3]).tolist()
        check_shape(shape, 1, max_bytes, str(path))
        # Reading one byte more also makes gzip check its sum.
        array = np.frombuffer(file.read(math.prod(shape) + 1), np.uint8)
        if len(array) != math.prod(shape):
            raise ValueError(f"not {math.prod(shape):,} bytes for shape {shape}")
        return array.reshape(shape)


def _opened(path):
    """Open a file, gzipped or not."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else open(path, "rb")


def looks_like_idx(path: Path) -> bool:
    """Return True if the file starts as IDX does, gzipped or not, or has a name of such files."""
    if "ubyte" in path.name or "idx" in path.name:
        return True
    try:
        with _opened(path) as file:
            return file.read(3) == _UNSIGNED
    except (EOFError, OSError, zlib.error):
        return False


def has_idx(folder: Path) -> bool:
    """Return True if `folder` holds files named as MNIST's four are."""
    return any(_find(folder, split, "images") for split in _PREFIX)


def read_idx_folder(folder: Path, split: str, max_bytes: int = MAX_BYTES) -> Dataset:
    """Return images and labels of one split of an MNIST-style folder."""
    images, labels = (_find(folder, split, kind, needed=True) for kind in ("images", "labels"))
    return _read_both(images, labels, max_bytes)


def read_idx_file(path: Path, max_bytes: int) -> Dataset:
    """Return the images of one IDX file, and the labels if the matching file lies beside it."""
    twin = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    return _read_both(path, twin if twin != path and twin.is_file() else None, max_bytes)


def _read_both(images_path, labels_path, max_bytes):
    images, labels = read_idx(images_path, max_bytes), None
    if labels_path is not None:
        labels = validate_labels(read_idx(labels_path, max_bytes), len(images), name=str(labels_path))
    return Dataset(images, labels, 256, str(images_path))


def _find(folder, split, kind, needed=False):
    """Return the file of this kind, or None; Kaggle and npm write a dot where the original has a dash."""
    stem = f"{_PREFIX[split]}-{kind}-idx{ {'images': 3, 'labels': 1}[kind] }-ubyte"
    for name in (stem, stem.replace("-idx", ".idx")):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    if needed:
        raise FileNotFoundError(
            f"{folder}: got no {stem}, expected it or {stem}.gz. Put it beside the other MNIST-style files."
        )
    return None


# CIFAR-10


def find_cifar10(folder: Path) -> Path | None:
    """Return `folder`, or the folder of CIFAR-10's archive in it, if one holds the batches; None otherwise.

    Raises FileError for CIFAR-10's Python version, which is pickled.
    """
    for place in (folder, folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"):
        if any((place / name).is_file() for names in _BATCHES.values() for name in names):
            return place
        if any((place / name).is_file() for name in ("data_batch_1", "test_batch")):
            raise FileError(
                f"{place}: got CIFAR-10's Python version, whose pickles could run any code, expected its binary "
                "version. Unpack cifar-10-binary.tar.gz, or download the parquet files from Hugging Face."
            )
    return None


def read_cifar10(folder: Path, split: str, max_bytes: int) -> Dataset:
    """Return 50,000 train or 10,000 test images, uint8 (n, 32, 32, 3), and their labels."""
    records = [_records(folder / name) for name in _BATCHES[split]]
    check_shape((sum(map(len, records)), _RECORD), 1, max_bytes, str(folder))
    joined = np.concatenate(records)
    images = joined[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Dataset(images, joined[:, 0].astype(np.int64), 256, str(folder), _CIFAR10)


def _records(path):
    """Return the records of one file, (n, bytes)."""
    raw = np.fromfile(path, np.uint8)
    if not len(raw) or len(raw) % _RECORD or raw[::_RECORD].max() >= len(_CIFAR10):
        raise FileError(
            f"{path}: got {len(raw):,} bytes of something else, expected records of {_RECORD:,} bytes that begin with "
            "a label of 0 to 9. Check that this is CIFAR-10 (not CIFAR-100) in its binary version."
        )
    return raw.reshape(-1, _RECORD)
