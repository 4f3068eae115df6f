"""NumPy's .npy and .npz files: plain numbers, no pickles, at most `max_bytes`."""

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from flowkit.data.bounded import MAX_BYTES, FileError, check_shape, reading, regular_size
from flowkit.data.dataset import Dataset
from flowkit.data.validate import validate_labels

_KIND = "a NumPy file of plain numbers, and no pickle, which could run any code"
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy's; others unpack a block of any size at once

# Names of images and labels: those of train and of test, or of a whole that is split 90/10.
_LABELS = {
    "train_images": "train_labels",
    "test_images": "test_labels",
    "x_train": "y_train",
    "x_test": "y_test",
    "images": "labels",
    "x": "y",
    "arr_0": "arr_1",
}
_FAMILIES = (("train_images", "test_images"), ("x_train", "x_test"), ("images",), ("x",), ("arr_0",))


def map_npy(path: Path, max_bytes: float = math.inf) -> np.ndarray:
    """Return the array in an .npy file, whose entries are read from the disk when they are indexed."""
    regular_size(path)
    with reading(path, _KIND), open(path, "rb") as file:
        _header(file, str(path), max_bytes)
        return np.load(path, mmap_mode="r", allow_pickle=False)


class NpzFile(Mapping[str, np.ndarray]):
    """The arrays of an .npz file by name, each of which is read when it is indexed.

    Raises FileError if the file, or an array that is read, is not plain numbers of at most `max_bytes`.
    """

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES) -> None:
        self.path, self.max_bytes = path, max_bytes
        regular_size(path)
        with reading(path, _KIND), zipfile.ZipFile(path) as file:
            members = [member for member in file.infolist() if member.filename.endswith(".npy")]
        self._members = {member.filename.removesuffix(".npy"): member for member in members}

    def __contains__(self, name: object) -> bool:
        return name in self._members  # Mapping's own would read the array

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        member, where = self._members[name], f"{self.path}[{name}]"
        with reading(where, _KIND), zipfile.ZipFile(self.path) as archive:
            if member.compress_type not in _PACKINGS:
                raise ValueError("it is packed in another way than NumPy's")
            with archive.open(member) as file:
                _header(file, where, self.max_bytes)
                file.seek(0)
                return npy.read_array(file, allow_pickle=False)

    def mapped(self, name: str) -> np.ndarray | None:
        """Return an array whose entries are read from the disk when they are indexed; None if it is packed."""
        member, where = self._members[name], f"{self.path}[{name}]"
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:  # encrypted
            return None
        with reading(where, _KIND), open(self.path, "rb") as file:
            # A header before each member repeats its name, after 26 bytes and the two lengths.
            file.seek(member.header_offset + 26)
            file.seek(int(np.fromfile(file, "<u2", 2).sum()), 1)
            shape, order, dtype = _header(file, where, math.inf)
            return np.memmap(self.path, dtype, "r", file.tell(), shape, order)

    def choose(
        self, families: Sequence[tuple[str, ...]], split: str, key: str | None = None
    ) -> tuple[str, bool]:
        """Return the name of the array of `split`, and True if it holds both splits.

        A family is a pair of names, those of train and of test, or the name of a whole. `key` chooses one of several
        families, or any other array, which is a whole.
        """
        there = [family for family in families if any(name in self for name in family)]
        if key is not None:
            there = [family for family in there if key in family] or [(key,)] * (key in self)
        elif not there and len(self) == 1:
            there = [(next(iter(self)),)]
        if len(there) != 1:
            known = key or f"arrays named {', '.join(map(' and '.join, families))}, or one array"
            name = there[-1][0] if there else next(iter(self), "NAME")
            raise FileError(
                f"{self.path}: expected {known}, received {', '.join(self) or 'none'}. Choose one by name: "
                f"{self.path}:{name}"
            )
        (family,) = there
        name = family[-1 if split == "test" else 0]
        if name not in self:  # a missing split must not be cut out of the other one
            raise FileError(
                f"{self.path}: expected {' and '.join(family)}, received no {name}. Store both, or one array under "
                "another name for a 90/10 split."
            )
        return name, len(family) == 1


def read_npz(
    path: Path, split: str, key: str | None, max_bytes: int, in_memory: bool
) -> tuple[Dataset, bool]:
    """Return images and labels of one split of an .npz file, or (the whole, True); `key` selects an array."""
    arrays = NpzFile(path, max_bytes)
    name, whole = arrays.choose(_FAMILIES, split, key)
    array = None if in_memory else arrays.mapped(name)
    if array is None or array.dtype != np.uint8:
        array = arrays[name]
    labels, own = None, _LABELS.get(name)
    if own in arrays:
        labels = validate_labels(arrays[own], len(array) if array.ndim else 0, name=f"{path}[{own}]")
    return Dataset(array, labels, 256, f"{path}[{name}]"), whole


def _header(file, name, max_bytes):
    """Return shape, order and dtype of an .npy file, read by NumPy; FileError unless it holds that many numbers."""
    if npy.read_magic(file) != (1, 0):
        raise ValueError("its format is of another version than that of plain numbers")
    shape, fortran, dtype = npy.read_array_header_1_0(file)
    if dtype.kind not in "biufc":
        raise FileError(
            f"{name}: expected plain numbers, received dtype {str(dtype)[:40]}. Save an array of numbers with "
            "np.save or np.savez, of uint8 for images."
        )
    check_shape(shape, dtype.itemsize, max_bytes, name)
    return shape, "F" if fortran else "C", dtype
