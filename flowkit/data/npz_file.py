"""NumPy's .npz format: a zip file of .npy files, whose own words about sizes are not believed."""

import io
import zipfile
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, regular_size
from flowkit.data.npy_file import map_npy, read_npy, unreadable

_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy's; others unpack a block of any size at once
_HEADER, _ENCRYPTED = 30, 1  # bytes before a member's name; a flag of it
_LONGEST_READ = 4 * 2**20  # zipfile reads its list of members in one piece, and makes an object of each


class NpzFile:
    """The arrays of an .npz file by name: `files`, `name in npz`, `npz[name]`, `mapped(name)`. Use it in a `with`.

    Raises FileError if the file, or the array that is asked for, is not plain numbers of at most `max_bytes`.
    """

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES):
        self._path, self._max_bytes, self._size = path, max_bytes, regular_size(path)
        self._file = _ShortReads(io.FileIO(path))
        try:
            self._zip = zipfile.ZipFile(self._file)
        except Exception as error:  # zipfile raises whatever a damaged file leads it to
            self._file.close()
            raise unreadable(path, error) from None
        self._members = {
            info.filename.removesuffix(".npy"): info
            for info in self._zip.infolist()
            if info.filename.endswith(".npy")
        }
        self.files = list(self._members)

    def __enter__(self) -> "NpzFile":
        return self

    def __exit__(self, *_) -> None:
        self._zip.close()
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> np.ndarray:
        return self._read(name, self._max_bytes)

    def mapped(self, name: str, max_bytes: float | None = None) -> np.ndarray | None:
        """An array that is read from the disk as it is looked at; None if it is packed, and has to be read as a whole.

        `max_bytes` takes the place of the file's. The sum that a zip file keeps of each member is not looked at.
        """
        member, where = self._members[name], f"{self._path}[{name}]"
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
            return None
        start = _first_byte(self._path, member)
        if start is None:
            raise unreadable(where, "its place in the file is none")
        limit = self._max_bytes if max_bytes is None else max_bytes
        return map_npy(Path(self._path), limit, start=start, stop=start + member.file_size, name=where)

    def _read(self, name, max_bytes):
        member, where = self._members[name], f"{self._path}[{name}]"
        if member.compress_type not in _PACKINGS:
            raise unreadable(where, "it is packed in another way than NumPy's")
        try:
            with self._zip.open(member) as file:
                packed = min(member.compress_size, self._size)
                return read_npy(file, where, max_bytes, packed)
        except FileError:
            raise
        except Exception as error:
            raise unreadable(where, error) from None

    def read_all(self) -> dict[str, np.ndarray]:
        """All arrays, which together take at most `max_bytes`."""
        arrays, left = {}, self._max_bytes
        for name in self.files:
            arrays[name] = self._read(name, left)
            left -= arrays[name].nbytes
        return arrays


def _first_byte(path, member):
    """Where the bytes of a member begin: after a header, which says again how long its name is. None without one."""
    if member.header_offset < 0:  # of a damaged file
        return None
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        header = file.read(_HEADER)
    if len(header) < _HEADER or header[:4] != b"PK\3\4":
        return None
    name, more = (int.from_bytes(header[place : place + 2], "little") for place in (26, 28))
    return member.header_offset + _HEADER + name + more


class _ShortReads(io.BufferedReader):
    def read(self, size=-1):
        if size is None or not 0 <= size <= _LONGEST_READ:
            size = _LONGEST_READ + 1
        found = super().read(size)
        if len(found) > _LONGEST_READ:
            raise zipfile.BadZipFile("its list of arrays is too long")
        return found
