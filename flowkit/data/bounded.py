"""Files of others: bounds on the memory that they take, since a small one can unpack to far more, and damaged ones."""

import contextlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

MAX_BYTES = 4 * 2**30  # ImageNet at 32x32 takes 3.9 GB, CIFAR-10 and MNIST far less


class FileError(ValueError):
    """Error for a file that is refused, in one line, with what to do."""


def check_bytes(taken: int, max_bytes: float, name: str) -> None:
    """Raise FileError if `taken` is more than `max_bytes`."""
    if taken > max_bytes:
        raise FileError(
            f"{name}: got data of {taken:,} bytes, expected at most {max_bytes:,} bytes of memory. "
            "Raise max_bytes ([data] max_bytes in a recipe) if you trust the file and have the memory."
        )


def check_shape(shape: Iterable[int], itemsize: int, max_bytes: float, name: str) -> None:
    """Raise FileError if an array of `shape` takes more than `max_bytes`."""
    check_bytes(math.prod(map(int, shape)) * itemsize, max_bytes, name)


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
            f"{name}: got a file that can't be read ({reason}), expected {kind}. Fetch or save it again."
        ) from error
