"""IDX files, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST; gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, check_shape, reading
from flowkit.data.dataset import Dataset
from flowkit.data.validate import validate_labels

_UNSIGNED = b"\0\0\x08"
_PREFIX = {"train": "train", "test": "t10k"}


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
            raise ValueError(f"expected {math.prod(shape):,} bytes for shape {shape}")
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
            f"{folder}: expected {stem} or {stem}.gz, found neither. Put it beside the other MNIST-style files."
        )
    return None
