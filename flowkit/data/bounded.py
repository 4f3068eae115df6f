"""Bounds on the memory that a file takes. A file that is small on disk can declare or unpack to far more."""

import math
import stat
from collections.abc import Iterable
from pathlib import Path

MAX_BYTES = 4 * 2**30  # ImageNet at 32x32 takes 3.9 GB, CIFAR-10 and MNIST far less
_PER_IMAGE = 32  # bytes beside the pixels of each image: its label, and its place in a split


class FileError(ValueError):
    """Error for a file that is refused: one line with what was expected, what was received, and what to do."""


def regular_size(path: str | Path) -> int:
    """Return the bytes of the file at `path`; FileError if it is a folder, pipe, device or socket, or a link to one."""
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path}: expected a regular file, received a folder, pipe or device.")
    return status.st_size


def check_bytes(taken: int, max_bytes: float, name: str) -> None:
    """Raise FileError if `taken` is more than `max_bytes`."""
    if taken > max_bytes:
        shown = f"{taken:,}" if taken < 2**63 else f"2^{taken.bit_length() - 1} or more"
        raise FileError(
            f"{name}: expected at most {max_bytes:,} bytes of memory, received data of {shown}. "
            "Raise max_bytes ([data] max_bytes in a recipe) if you trust the file and have the memory."
        )


def check_shape(shape: Iterable[int], itemsize: int, max_bytes: float, name: str) -> None:
    """Raise FileError if an array of `shape` takes more than `max_bytes`.

    Each row counts for 32 bytes more, so that a billion images of one pixel are not small, and each side counts as
    well, even in an array without entries.
    """
    sides = [int(side) for side in shape]
    rows = sides[0] if sides else 0
    check_bytes(max(math.prod(sides) * itemsize + _PER_IMAGE * rows, *sides, 0), max_bytes, name)
