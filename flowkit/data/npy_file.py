"""NumPy's .npy format: plain numbers, as many as the header says and `max_bytes` allows."""

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_ratio, check_shape, read_exactly, regular_size

_PARSERS = {  # version -> (bytes that the header's length takes, how NumPy reads what follows)
    1: (2, np.lib.format.read_array_header_1_0),
    2: (4, np.lib.format.read_array_header_2_0),
}
_LONGEST_HEADER = 10_000  # NumPy's own limit, which it looks at after reading
_MOST_AXES = 32


def read_npy(file: BinaryIO, name: str, max_bytes: int = MAX_BYTES, packed: int | None = None) -> np.ndarray:
    """The array in an open .npy file, which ends after it. FileError for anything else, in the terms of `name`.

    `packed`: the bytes on disk that `file` is unpacked from, if it is.
    """
    shape, fortran, dtype = _header(file, name)
    taken = check_shape(shape, dtype.itemsize, max_bytes, name)
    if packed is not None:
        check_ratio(taken, packed, name)
    raw = read_exactly(file, taken)
    if raw is None:
        raise unreadable(name, "it is cut short")
    if file.read(1):
        raise unreadable(name, "it goes on after its last number")
    return raw.view(dtype).reshape(shape, order="F" if fortran else "C")


def map_npy(
    path: Path,
    max_bytes: float = MAX_BYTES,
    *,
    start: int = 0,
    stop: int | None = None,
    name: str | None = None,
) -> np.ndarray:
    """The array in an .npy file, read as it is looked at. FileError as from `read_npy`.

    The .npy file may be a part of another one, its bytes `start` to `stop`, and be called `name`.
    """
    name = name or str(path)
    size = regular_size(path)
    with open(path, "rb") as file:
        file.seek(start)
        shape, fortran, dtype = _header(file, name)
        taken = check_shape(shape, dtype.itemsize, max_bytes, name)
        start = file.tell()
    if min(size, size if stop is None else stop) < start + taken:
        raise unreadable(name, "it is cut short")
    if not taken:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def unreadable(name: str | Path, error: Exception | str) -> FileError:
    """The FileError that says why a file, or an array in it, can't be read."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return FileError(
        f"{name}: expected a NumPy file, received one that can't be read ({reason.splitlines()[0][:100]}). "
        "Save it again with np.save or np.savez."
    )


def _header(file, name):
    """(shape, Fortran order, dtype), checked: NumPy's parser is handed a header of bounded length."""
    start = file.read(8)
    if not start:
        raise unreadable(name, "it is empty")
    if start[:4] == b"PK\3\4":
        raise unreadable(name, "it is a zip file; .npz is the name of those")
    if start[:6] != np.lib.format.MAGIC_PREFIX:
        raise _pickled(name)
    if len(start) < 8 or start[6] not in _PARSERS:
        raise unreadable(name, "its format is of an unknown version")
    width, parse = _PARSERS[start[6]]
    length = file.read(width)
    if int.from_bytes(length, "little") > _LONGEST_HEADER:
        raise unreadable(name, f"its header is longer than {_LONGEST_HEADER:,} bytes")
    text = file.read(int.from_bytes(length, "little"))
    try:
        shape, fortran, dtype = parse(io.BytesIO(length + text))
    except Exception as error:  # a header is Python's text, and fails in as many ways
        raise unreadable(name, error) from None
    if dtype.hasobject:
        raise _pickled(name)
    if dtype.kind not in "biufc":
        raise FileError(
            f"{name}: expected plain numbers, received dtype {str(dtype)[:40]}. Save an array of numbers with np.save "
            "or np.savez, of uint8 for images."
        )
    if len(shape) > _MOST_AXES or any(side < 0 for side in shape):
        raise unreadable(name, "its shape is none")
    return shape, fortran, dtype


def _pickled(name):
    return FileError(
        f"{name}: expected plain numbers, received pickled Python objects or no NumPy file at "
        "all, which flowkit does not load since unpickling can run any code. Save an array of numbers with np.save or "
        "np.savez, of uint8 for images."
    )
