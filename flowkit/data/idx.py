"""IDX files, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST; gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, check_ratio, check_shape, read_exactly
from flowkit.data.lazy_images import LazyImages, rows_of
from flowkit.data.split import split_rows
from flowkit.data.validate import validate_images, validate_labels, with_channels

_GZIP = b"\x1f\x8b"
_MOST_AXES = 8
_PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path: str | Path, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Read one IDX file of unsigned bytes.

    Args:
        path: the file; gzip is recognised by its first two bytes, whatever the file's name.
        max_bytes: no file that declares more is read; of a gzip file, no more than it declares.

    Returns:
        uint8 array of the shape that the file's header states.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an IDX file of unsigned bytes, is cut short or too large.
    """
    path = Path(path)
    packed = _is_packed(path)
    try:
        with gzip.open(path) if packed else open(path, "rb") as file:
            return _read(file, path, max_bytes, packed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a whole gzip file, received a damaged one ({error}). Fetch it again."
        ) from None


def map_idx(path: str | Path, max_bytes: float = MAX_BYTES) -> np.ndarray | None:
    """What `read_idx` gives, read from the disk as it is looked at; None of a gzip file, which has to be read whole."""
    path = Path(path)
    if _is_packed(path):
        return None
    with open(path, "rb") as file:
        shape = _shape(file, path)
        taken, start = check_shape(shape, 1, max_bytes, str(path)), file.tell()
    if path.stat().st_size != start + taken:
        raise _damaged(path, shape)
    return np.memmap(path, np.uint8, "r", start, shape) if taken else np.empty(shape, np.uint8)


def _is_packed(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected an IDX file, found none. Check the path, or put the file there."
        )
    with open(path, "rb") as file:
        return file.read(2) == _GZIP


def _shape(file, path):
    """The shape that the header of an open file states; ValueError if it is none of unsigned bytes."""
    start = file.read(4)
    if len(start) < 4 or start[:3] != b"\0\0\x08" or not 1 <= start[3] <= _MOST_AXES:
        raise ValueError(
            f"{path}: expected an IDX file of unsigned bytes, which starts with 00 00 08 and a number of axes, "
            f"received {start.hex(' ') or 'an empty file'}. Check that this is the right file."
        )
    sides = file.read(4 * start[3])
    shape = tuple(int(side) for side in np.frombuffer(sides, ">u4", len(sides) // 4)) if sides else ()
    if len(shape) < start[3]:
        raise _damaged(path, shape)
    return shape


def _read(file, path, max_bytes, packed):
    shape = _shape(file, path)
    taken = check_shape(shape, 1, max_bytes, str(path))
    if packed:
        check_ratio(taken, path.stat().st_size, str(path))
    pixels = read_exactly(file, taken)
    # Asking for one byte more also makes gzip look at its checksum.
    if pixels is None or file.read(1):
        raise _damaged(path, shape)
    return pixels.reshape(shape)


def _damaged(path, shape):
    return ValueError(
        f"{path}: expected {math.prod(shape):,} bytes for shape {shape}, received fewer or more. "
        "The file is cut short or damaged: fetch it again."
    )


def looks_like_idx(path):
    """True if the file starts as IDX does, gzipped or not."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:2] == _GZIP:
        try:
            with gzip.open(path) as file:
                start = file.read(4)
        except (EOFError, OSError, zlib.error):
            # Named like one: let read_idx say what is wrong with it.
            return "ubyte" in Path(path).name or "idx" in Path(path).name
    return start[:3] == b"\0\0\x08" or "ubyte" in Path(path).name


def has_idx(folder):
    """True if `folder` holds files named as MNIST's four are."""
    return any(_find(folder, prefix, "images") for prefix in _PREFIX.values())


def load_idx_folder(
    folder: str | Path, split: str, max_bytes: int = MAX_BYTES, in_memory: bool = True
) -> tuple[np.ndarray | LazyImages, np.ndarray]:
    """Images `(n, height, width, 1)` and labels `(n,)` of one split of an MNIST-style folder.

    Not `in_memory`: images stay in their file until they are asked for, if it is not gzipped.
    """
    folder = Path(folder)
    found = []
    for kind, rank in (("images", 3), ("labels", 1)):
        path = _find(folder, _PREFIX[split], kind)
        if path is None:
            wanted = f"{_PREFIX[split]}-{kind}-idx{rank}-ubyte"
            raise FileNotFoundError(
                f"{folder}: expected {wanted} or {wanted}.gz, found neither. Put it beside the "
                "other MNIST-style files."
            )
        found.append(path)
    images_path, labels_path = found
    images, lazy = _images(images_path, max_bytes, in_memory)
    labels = validate_labels(read_idx(labels_path, max_bytes), len(images), name=str(labels_path))
    return rows_of(images) if lazy else images, labels


def _images(path, max_bytes, in_memory):
    """(the images of a file, whether they stay in it)."""
    mapped = None if in_memory else map_idx(path, math.inf)
    if mapped is None:
        return validate_images(read_idx(path, max_bytes), name=str(path)), False
    check_shape(mapped.shape[:1], 1, max_bytes, str(path))
    return with_channels(mapped, str(path)), True


def load_idx_file(
    path: str | Path, split: str, max_bytes: int = MAX_BYTES, in_memory: bool = True
) -> tuple[np.ndarray | LazyImages, np.ndarray | None]:
    """A 90/10 split of one IDX file of images; labels if the matching file lies beside it. `in_memory`: as above."""
    path = Path(path)
    images, lazy = _images(path, max_bytes, in_memory)
    twin = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels = None
    if twin != path and twin.is_file():
        labels = validate_labels(read_idx(twin, max_bytes), len(images), name=str(twin))
    rows = split_rows(len(images), split, path)
    return rows_of(images, rows) if lazy else images[rows], None if labels is None else labels[rows]


def _find(folder, prefix, kind):
    """The file of this kind; Kaggle and npm write a dot where the original has a dash."""
    rank = {"images": 3, "labels": 1}[kind]
    for stem in (f"{prefix}-{kind}-idx{rank}-ubyte", f"{prefix}-{kind}.idx{rank}-ubyte"):
        for ending in ("", ".gz"):
            path = Path(folder) / (stem + ending)
            if path.is_file():
                return path
    return None
