"""Open files of others: regular files alone, and no more of them than half of this machine's memory.

A small file can unpack to far more than its size, so what it declares is compared with the limit before it is read.
"""

import contextlib
import ctypes
import functools
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

_CONTAINERS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_NUMPY = "a NumPy file of plain numbers, and no pickle, which could run any code"


class FileError(ValueError):
    """Error for a file that is refused, in one line, with what to do."""


@functools.cache
def most_bytes() -> int:
    """Return half of the bytes of this machine's memory, or of its container's."""
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:  # Windows, whose MEMORYSTATUSEX has 64 bytes, the second eight of them the memory
        status = (ctypes.c_ulonglong * 8)(64)
        getattr(ctypes, "windll").kernel32.GlobalMemoryStatusEx(status)  # noqa: B009  # other systems have none
        memory = status[1]
    for path in _CONTAINERS:
        with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit, "max"
            memory = min(memory, int(Path(path).read_text()))
    return memory // 2


def check_bytes(name: str | Path, *factors: int) -> None:
    """Raise FileError if the product of `factors` is more than `most_bytes`."""
    taken, most = math.prod(map(int, factors)), most_bytes()
    if taken > most:
        raise FileError(
            f"{name}: got data of {taken:,} bytes, expected at most {most:,}, half of this machine's memory. Load a "
            "part, by limit= or from a smaller file, or use a machine with more memory."
        )


def check_kind(path: str | Path) -> None:
    """Raise FileError for a folder, and for a pipe or a device, which may never end."""
    if Path(path).exists() and not Path(path).is_file():
        raise FileError(
            f"{path}: got a folder, pipe or device, expected a regular file. Save its contents first."
        )


def open_file(path: Path, memory: int = 1) -> BinaryIO:
    """Open a regular file, whose bytes take `memory` bytes each once read; raise FileError for too many."""
    check_kind(path)
    check_bytes(path, path.stat().st_size, memory)
    return path.open("rb")


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


def map_npy(path: Path) -> np.ndarray:
    """Return the array in an .npy file, whose entries are read from the disk when they are indexed."""
    with reading(path, _NUMPY):
        return np.lib.format.open_memmap(path, mode="r")


class NpzFile(dict[str, int]):
    """The sizes in bytes of the arrays in an .npz file, by name; `read` reads one of them.

    Raises FileError if the file, or an array that is read, is not plain numbers, or more of them than memory may take.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        with reading(path, _NUMPY), zipfile.ZipFile(path) as file:
            sizes = {member.filename: member.file_size for member in file.infolist()}
        arrays = [name for name in sizes if name.endswith(".npy")]
        super().__init__({name.removesuffix(".npy"): sizes[name] for name in arrays})

    def read(self, name: str) -> np.ndarray:
        """Return an array."""
        where = f"{self.path}[{name}]"
        check_bytes(where, self[name])
        with reading(where, _NUMPY), np.load(self.path, allow_pickle=False) as arrays:
            return np.asarray(arrays[f"{name}.npy"])

    def choose(
        self, families: Sequence[tuple[str, ...]], split: str, key: str | None = None
    ) -> tuple[str, bool]:
        """Return the name of the array of `split`, and True if it holds both splits.

        A family is a pair of names, those of train and of test, or the name of a whole; the first one that is there is
        taken. `key` chooses another, or any array, which is a whole.
        """
        known = key or f"arrays named {', '.join(map(' and '.join, families))}, or one array"
        if key is not None:
            families = [*(family for family in families if key in family), (key,)]
        elif len(self) == 1:
            families = [*families, tuple(self)]
        there = [family for family in families if any(name in self for name in family)]
        if not there:
            raise FileError(
                f"{self.path}: got {', '.join(self) or 'no arrays'}, expected {known}. Choose one by name: "
                f"{self.path}:{next(iter(self), 'NAME')}"
            )
        family = there[0]
        name = family[-1 if split == "test" else 0]
        if name not in self:  # a missing split must not be cut out of the other one
            raise FileError(
                f"{self.path}: got no {name}, expected {' and '.join(family)}. Store both, or one array under another "
                "name for a 90/10 split."
            )
        return name, len(family) == 1
