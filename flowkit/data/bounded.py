"""How much memory a file may ask for. A file that is small on disk can hold or declare far more."""

import math
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

MAX_BYTES = 4 * 2**30  # ImageNet at 32x32 takes 3.9 GB, CIFAR-10 and MNIST far less
PER_IMAGE = 32  # bytes beside the pixels of each image: its label, and its place in a split
RATIO = 200  # of what a file unpacks to and its size; images seldom pass 20, a bomb of zeros reaches 1,000
SMALL = 2**28  # bytes that any file may unpack to
_BLOCK = 2**20


class FileError(ValueError):
    """A file that is not taken, in one line: what was expected, what came, what to do."""


def check_shape(shape: Iterable[int], itemsize: int, max_bytes: float, name: str) -> int:
    """The bytes of an array of `shape`, in Python's integers; FileError for more than `max_bytes`.

    Each row counts for `PER_IMAGE` bytes more, so that a billion images of one pixel are not taken for small;
    and no side may be longer than memory, even of an array without numbers.
    """
    sides = [int(side) for side in shape]
    taken = math.prod(sides) * itemsize
    rows = sides[0] if sides else 0
    check_bytes(max(taken + PER_IMAGE * rows, *sides, 0), max_bytes, name)
    return taken


def regular_size(path: str | Path) -> int:
    """Return the bytes of the file at `path`; FileError if it is a folder, pipe, device or socket, or a link to one."""
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path}: expected a regular file, received a folder, pipe or device.")
    return status.st_size


def check_bytes(taken: int, max_bytes: float, name: str) -> None:
    """Raise FileError if `taken` is more than `max_bytes`."""
    if taken > max_bytes:
        raise FileError(
            f"{name}: expected at most {max_bytes:,} bytes of memory, received what takes {_shown(taken)}. "
            "Raise max_bytes ([data] max_bytes in a recipe) if you trust the file and have the memory."
        )


def check_ratio(taken: int, packed: int, name: str) -> None:
    """Raise FileError if `packed` bytes declare far more than images ever unpack to."""
    if taken > max(SMALL, RATIO * packed):
        raise FileError(
            f"{name}: expected numbers that unpack to less than {RATIO} times their size, received {packed:,} "
            f"bytes that declare {taken:,}. Store them unpacked if you trust the file."
        )


def read_exactly(file: BinaryIO, count: int) -> np.ndarray | None:
    """The next `count` bytes of `file` as uint8; None if the file ends before.

    Memory is touched as bytes arrive, so that a header alone takes none.
    """
    buffer = np.empty(count, np.uint8)
    view, have = memoryview(buffer), 0
    while have < count:
        arrived = file.readinto(view[have : have + _BLOCK])
        if not arrived:
            return None
        have += arrived
    return buffer


class Cautious:
    """A file that is never asked for more than it holds: `read` allocates first and looks afterwards."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size
        self.readline, self.tell = file.readline, file.tell

    def read(self, count: int) -> bytes:
        return self._file.read(min(count, self._size))


def _shown(count: int) -> str:
    return f"{count:,}" if count < 2**63 else f"2^{count.bit_length() - 1} or more"
