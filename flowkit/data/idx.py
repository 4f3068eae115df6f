"""IDX files, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST; gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_shape, reading, regular_size
from flowkit.data.dataset import Dataset
from flowkit.data.validate import validate_labels

_UNSIGNED = b"\0\0\x08"
_MOST_AXES = 8
_PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path: Path, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Return the unsigned bytes in an IDX file, in the shape that its header states.

    A gzipped file is unpacked to at most `max_bytes`; another one is mapped: its entries are read from the disk when
    they are indexed. Raises FileError if it is not an IDX file of unsigned bytes, is cut short or too large.
    """
    size = regular_size(path)
    with reading(path, "an IDX file"), _opened(path) as file:
        start = file.read(4)
        if len(start) < 4 or start[:3] != _UNSIGNED or not 1 <= start[3] <= _MOST_AXES:
            raise FileError(
                f"{path}: expected an IDX file of unsigned bytes, which starts with 00 00 08 and a number of axes, "
                f"received {start.hex(' ') or 'an empty file'}. Check that this is the right file."
            )
        shape = tuple(int.from_bytes(file.read(4), "big") for _ in range(start[3]))
        header, taken = 4 + 4 * len(shape), math.prod(shape)
        if isinstance(file, gzip.GzipFile):
            check_shape(shape, 1, max_bytes, str(path))
            array = np.empty(taken, np.uint8)
            # Reading one byte more also makes gzip check its sum.
            whole = file.readinto(array.data) == taken and not file.read(1)
        else:
            whole = size == header + taken
            array = np.memmap(path, np.uint8, "r", header) if whole and taken else np.empty(0, "u1")
        if not whole:
            raise FileError(
                f"{path}: expected {taken:,} bytes for shape {shape}, received fewer or more. "
                "The file is cut short or damaged: fetch it again."
            )
    return array.reshape(shape)


def _opened(path):
    """Open a file, gzipped or not."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else open(path, "rb")


def looks_like_idx(path: Path) -> bool:
    """Return True if the file starts as IDX does, gzipped or not, or has a name of such files."""
    try:
        with _opened(path) as file:
            start = file.read(3)
    except (EOFError, OSError, zlib.error):
        start = b""  # if it is named like one, read_idx says what is wrong with it
    return start == _UNSIGNED or "ubyte" in path.name or "idx" in path.name


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
