"""Files of others: bounds on the memory that they take, since a small one can unpack to far more, and damaged ones."""

import contextlib
import math
import stat
from collections.abc import Iterable, Iterator
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
        raise FileError(
            f"{name}: expected at most {max_bytes:,} bytes of memory, received data of {taken:,}. "
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


@contextlib.contextmanager
def reading(name: str | Path, kind: str) -> Iterator[None]:
    """Raise FileError, with the name and the `kind` of a file, for whatever a damaged one leads a library to."""
    try:
        yield
    except FileError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:100].rstrip(".")
        raise FileError(
            f"{name}: expected {kind}, received a file that can't be read as one ({reason}). Fetch or save it again."
        ) from error
