"""NumPy's .npy and .npz files: plain numbers, no pickles, at most `max_bytes`."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_ratio, check_shape, regular_size
from flowkit.data.dataset import Found
from flowkit.data.validate import validate_labels

_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy's; others unpack a block of any size at once

# Names of images and labels: those of train and of test, or of a whole that is split 90/10.
_FAMILIES = (
    (("train_images", "train_labels"), ("test_images", "test_labels")),
    (("x_train", "y_train"), ("x_test", "y_test")),
    (("images", "labels"),),
    (("x", "y"),),
    (("arr_0", "arr_1"),),
)


def map_npy(path: Path, max_bytes: float = math.inf) -> np.ndarray:
    """Return the array in an .npy file, whose entries are read from the disk when they are indexed."""
    regular_size(path)
    with open(path, "rb") as file:
        _header(file, str(path), max_bytes)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise _unreadable(path, error) from None


class NpzFile:
    """The arrays of an .npz file by name: `files`, `name in npz`, `npz[name]`, `mapped(name)`. Use it in a `with`.

    Raises FileError if the file, or an array that is read, is not plain numbers of at most `max_bytes`.
    """

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES) -> None:
        self._path, self._max_bytes, self._size = path, max_bytes, regular_size(path)
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("it is no zip file, or not a whole one")
            self._arrays: Any = np.load(path, allow_pickle=False)
        except Exception as error:  # zipfile raises whatever a damaged file leads it to
            raise _unreadable(path, error) from None
        self._members = {
            info.filename.removesuffix(".npy"): info
            for info in self._arrays.zip.infolist()
            if info.filename.endswith(".npy")
        }
        self.files = list(self._members)

    def __enter__(self) -> "NpzFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._arrays.close()

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __getitem__(self, name: str) -> np.ndarray:
        return self._read(name, self._max_bytes)

    def _read(self, name, max_bytes):
        member, where = self._members[name], f"{self._path}[{name}]"
        if member.compress_type not in _PACKINGS:
            raise _unreadable(where, "it is packed in another way than NumPy's")
        try:
            with self._arrays.zip.open(member) as file:
                shape, _, dtype = _header(file, where, max_bytes)
                check_ratio(math.prod(shape) * dtype.itemsize, min(member.compress_size, self._size), where)
            # By its whole name: NumPy reads any member of the bare name as bytes of any size.
            return self._arrays[member.filename]
        except FileError:
            raise
        except Exception as error:
            raise _unreadable(where, error) from None

    def read_all(self) -> dict[str, np.ndarray]:
        """Return all arrays, which together take at most `max_bytes`."""
        arrays, left = {}, self._max_bytes
        for name in self.files:
            arrays[name] = self._read(name, left)
            left -= arrays[name].nbytes
        return arrays

    def mapped(self, name: str) -> np.ndarray | None:
        """Return an array whose entries are read from the disk when they are indexed; None if it is packed."""
        member, where = self._members[name], f"{self._path}[{name}]"
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:  # encrypted
            return None
        try:
            with open(self._path, "rb") as file:
                # A header before each member repeats its name, after 26 bytes and the two lengths.
                file.seek(member.header_offset + 26)
                file.seek(int(np.fromfile(file, "<u2", 2).sum()), 1)
                shape, order, dtype = _header(file, where, math.inf)
                return np.memmap(self._path, dtype, "r", file.tell(), shape, order)
        except FileError:
            raise
        except Exception as error:
            raise _unreadable(where, error) from None


def read_npy(path: Path) -> Found:
    """Return the images in an .npy file."""
    array = map_npy(path)
    if array.ndim == 0:
        raise FileError(f"{path}: expected one array of images, received a scalar. Save it with np.save.")
    return Found(array, None, str(path), whole=True)


def read_npz(path: Path, split: str, key: str | None, max_bytes: int, in_memory: bool) -> Found:
    """Return images and labels of one split of an .npz file, or of the whole; `key` selects one of several arrays.

    A `key` that is none of the known names is an array of images without labels.
    """
    with NpzFile(path, max_bytes) as arrays:
        family = _family(arrays, path, key)
        whole = len(family) == 1
        images_key, labels_key = family[0 if whole or split == "train" else 1]
        if images_key not in arrays:  # a missing split must not be cut out of the other one
            wanted = [images for images, _ in family]
            raise FileError(
                f"{path}: expected {' and '.join(wanted)}, received only "
                f"{wanted[0] if images_key == wanted[1] else wanted[1]}. Store both, or store one array "
                "named images for a 90/10 split."
            )
        array = None if in_memory else arrays.mapped(images_key)
        if array is None or array.dtype != np.uint8:
            array = arrays[images_key]
        labels = None
        if labels_key in arrays:
            count = len(array) if array.ndim else 0
            labels = validate_labels(arrays[labels_key], count, name=f"{path}[{labels_key}]")
        return Found(array, labels, f"{path}[{images_key}]", whole)


def _family(arrays, path, key):
    """Return the one family of names that is there, or the one that `key` belongs to."""
    there = [family for family in _FAMILIES if any(images in arrays for images, _ in family)]
    found = ", ".join(arrays.files) or "none"
    if key is not None:
        if key not in arrays:
            raise FileError(f"{path}: expected an array named {key}, received {found}.")
        chosen = [family for family in there if any(key == images for images, _ in family)]
        return chosen[0] if chosen else ((key, None),)
    if len(there) == 1:
        return there[0]
    if there:
        names = " and ".join(images for family in there for images, _ in family if images in arrays)
        raise FileError(
            f"{path}: expected images under one name, received {names}. Choose by name: {path}:{there[-1][0][0]}"
        )
    raise FileError(
        f"{path}: expected arrays named train_images and test_images, x_train and x_test, or images, received {found}. "
        f"Rename them with np.savez, or give the name: {path}:{next(iter(arrays.files), 'images')}"
    )


def _header(file, name, max_bytes):
    """Return shape, order and dtype of an .npy file, read by NumPy; FileError unless it holds that many numbers."""
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise _pickled(name) from None
    if version != (1, 0):
        raise _unreadable(name, "its format is of another version than that of plain numbers")
    try:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # a header is Python's text, and fails in as many ways
        raise _unreadable(name, error) from None
    if dtype.hasobject:
        raise _pickled(name)
    if dtype.kind not in "biufc":
        raise FileError(
            f"{name}: expected plain numbers, received dtype {str(dtype)[:40]}. Save an array of numbers with "
            "np.save or np.savez, of uint8 for images."
        )
    check_shape(shape, dtype.itemsize, max_bytes, name)
    return shape, "F" if fortran else "C", dtype


def _pickled(name):
    return FileError(
        f"{name}: expected plain numbers, received pickled Python objects or no NumPy file at all, which flowkit "
        "does not load since unpickling can run any code. Save an array of numbers with np.save or np.savez, of "
        "uint8 for images."
    )


def _unreadable(name, error):
    reason = (str(error) or type(error).__name__).splitlines()[0][:100]
    return FileError(
        f"{name}: expected a NumPy file, received one that can't be read ({reason}). Save it again with np.save or "
        "np.savez."
    )
