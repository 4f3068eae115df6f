"""NumPy's .npy and .npz files: plain numbers, no pickles, at most `max_bytes`."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_bytes, reading
from flowkit.data.dataset import Dataset
from flowkit.data.validate import validate_labels

_KIND = "a NumPy file of plain numbers, and no pickle, which could run any code"

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


def map_npy(path: Path) -> np.ndarray:
    """Return the array in an .npy file, whose entries are read from the disk when they are indexed."""
    with reading(path, _KIND):
        return np.load(path, mmap_mode="r", allow_pickle=False)


class NpzFile(dict[str, int]):
    """The sizes in bytes of the arrays in an .npz file, by name; `read` reads one of them.

    Raises FileError if the file, or an array that is read, is not plain numbers of at most `max_bytes`.
    """

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES) -> None:
        self.path, self.max_bytes = path, max_bytes
        with reading(path, _KIND), zipfile.ZipFile(path) as file:
            sizes = {member.filename: member.file_size for member in file.infolist()}
        arrays = [name for name in sizes if name.endswith(".npy")]
        super().__init__({name.removesuffix(".npy"): sizes[name] for name in arrays})

    def read(self, name: str) -> np.ndarray:
        """Return an array."""
        where = f"{self.path}[{name}]"
        check_bytes(self[name], self.max_bytes, where)
        with reading(where, _KIND), np.load(self.path, allow_pickle=False) as arrays:
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


def read_npz(path: Path, split: str, key: str | None, max_bytes: int) -> tuple[Dataset, bool]:
    """Return images and labels of one split of an .npz file, or (the whole, True); `key` selects an array."""
    arrays = NpzFile(path, max_bytes)
    name, whole = arrays.choose(_FAMILIES, split, key)
    array, labels, own = arrays.read(name), None, _LABELS.get(name)
    if own in arrays:
        labels = validate_labels(arrays.read(own), len(array) if array.ndim else 0, name=f"{path}[{own}]")
    return Dataset(array, labels, 256, f"{path}[{name}]"), whole
