"""IDX files, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST; gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_ratio, check_shape, regular_size
from flowkit.data.dataset import Found
from flowkit.data.validate import validate_labels

_GZIP = b"\x1f\x8b"
_MOST_AXES = 8
_PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path: str | Path, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Return the unsigned bytes in an IDX file, in the shape that its header states.

    Gzip is recognised by its first two bytes, and unpacked to at most `max_bytes`. A file that is not packed is mapped:
    its entries are read from the disk when they are indexed.

    Raises FileNotFoundError if there is no such file, and FileError if it is not an IDX file of unsigned bytes, is cut
    short or too large.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: expected an IDX file, found none. Check the path, or put the file there."
        )
    size = regular_size(path)
    with open(path, "rb") as file:
        packed = file.read(2) == _GZIP
    try:
        with gzip.open(path) if packed else open(path, "rb") as file:
            shape = _shape(file, path)
            taken = math.prod(shape)
            if packed:
                check_shape(shape, 1, max_bytes, str(path))
                check_ratio(taken, size, str(path))
                array = np.empty(taken, np.uint8)
                # Reading one byte more also makes gzip check its sum.
                whole = file.readinto(array.data) == taken and not file.read(1)
            else:
                whole = size == file.tell() + taken
                array = np.memmap(path, np.uint8, "r", file.tell()) if whole and taken else np.empty(0, "u1")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileError(
            f"{path}: expected a whole gzip file, received a damaged one ({error}). Fetch it again."
        ) from None
    if not whole:
        raise _damaged(path, shape)
    return array.reshape(shape)


def _shape(file, path):
    """Return the shape that the header of an open file states."""
    start = file.read(4)
    if len(start) < 4 or start[:3] != b"\0\0\x08" or not 1 <= start[3] <= _MOST_AXES:
        raise FileError(
            f"{path}: expected an IDX file of unsigned bytes, which starts with 00 00 08 and a number of axes, "
            f"received {start.hex(' ') or 'an empty file'}. Check that this is the right file."
        )
    sides = file.read(4 * start[3])
    if len(sides) < 4 * start[3]:
        raise _damaged(path, ())
    return tuple(int(side) for side in np.frombuffer(sides, ">u4"))


def _damaged(path, shape):
    return FileError(
        f"{path}: expected {math.prod(shape):,} bytes for shape {shape}, received fewer or more. "
        "The file is cut short or damaged: fetch it again."
    )


def looks_like_idx(path: Path) -> bool:
    """Return True if the file starts as IDX does, gzipped or not, or has a name of such files."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:2] == _GZIP:
        try:
            with gzip.open(path) as file:
                start = file.read(4)
        except (EOFError, OSError, zlib.error):
            # Named like one: read_idx says what is wrong with it.
            return "ubyte" in path.name or "idx" in path.name
    return start[:3] == b"\0\0\x08" or "ubyte" in path.name


def has_idx(folder: Path) -> bool:
    """Return True if `folder` holds files named as MNIST's four are."""
    return any(_find(folder, split, "images") for split in _PREFIX)


def read_idx_folder(folder: Path, split: str, max_bytes: int = MAX_BYTES) -> Found:
    """Return images and labels of one split of an MNIST-style folder."""
    images, labels = (_find(folder, split, kind, needed=True) for kind in ("images", "labels"))
    return _read_both(images, labels, max_bytes, whole=False)


def read_idx_file(path: Path, max_bytes: int) -> Found:
    """Return the images of one IDX file, and the labels if the matching file lies beside it."""
    twin = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    return _read_both(path, twin if twin != path and twin.is_file() else None, max_bytes, whole=True)


def _read_both(images_path, labels_path, max_bytes, whole):
    images, labels = read_idx(images_path, max_bytes), None
    if labels_path is not None:
        labels = validate_labels(read_idx(labels_path, max_bytes), len(images), name=str(labels_path))
    return Found(images, labels, str(images_path), whole)


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
