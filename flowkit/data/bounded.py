"""Files of others: bounds on the memory that they take, since a small one can unpack to far more, and damaged ones."""

import contextlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 4 * 2**30  # ImageNet at 32x32 takes 3.9 GB, CIFAR-10 and MNIST far less


class FileError(ValueError):
    """Error for a file that is refused, in one line, with what to do."""


def open_file(path: Path, max_bytes: float = MAX_BYTES, memory: float = 1.0) -> BinaryIO:
    """Open a file to read its bytes. Each byte takes `memory` bytes.

    Raises FileError for a folder, a pipe or a device, and for more than `max_bytes`.
    """
    check_kind(path)
    check_bytes(int(path.stat().st_size * memory), max_bytes, str(path))
    return path.open("rb")


def check_kind(path: str | Path) -> None:
    """Raise FileError for a folder, and for a pipe or a device, which may never end."""
    if Path(path).exists() and not Path(path).is_file():
        raise FileError(
            f"{path}: got a folder, pipe or device, expected a regular file. Save its contents first."
        )


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
    if not Path(name).is_dir():  # such as a checkpoint of several files
        check_kind(name)
    try:
        yield
    except FileError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:100].rstrip(".")
        raise FileError(
            f"{name}: got a file that can't be read ({reason}), expected {kind}. Fetch or save it again."
        ) from error
