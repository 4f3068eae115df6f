"""Images in memory or on the disk, with their labels; the 90/10 split of data that come without one; hashes."""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np

from flowkit.contract.arguments import whole, words
from flowkit.contract.configured import one_line
from flowkit.data.bounded import FileError

_AT_ONCE = 2**24  # bytes of a block


class LazyImages:
    """An array of images that is read when it is indexed: `images[rows]` is numpy, and nothing else is kept.

    Indexed along its first axis as an array is; `np.asarray` reads all of it. `flowkit.data.load` returns one for
    `in_memory=False`, and `flowkit.data.batches` takes it.

    Args:
        read: a function that returns the images of some row numbers `(k,)`, uint8 `(k, height, width, channels)`.
        shape: of all, `(n, height, width, channels)`.

    Example:
        >>> ramp = LazyImages(lambda rows: rows.astype("uint8").reshape(-1, 1, 1, 1), shape=(100, 1, 1, 1))
        >>> ramp[[3, -1]].ravel().tolist(), ramp[:2].shape, ramp[5].shape, len(ramp)
        ([3, 99], (2, 1, 1, 1), (1, 1, 1), 100)
    """

    ndim = 4
    __repr__ = one_line

    def __init__(
        self,
        read: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, ...],
        dtype: str | np.dtype = "uint8",
    ) -> None:
        self._read = read
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._rows = np.arange(self.shape[0])

    @property
    def nbytes(self) -> int:
        """Return the bytes that all would take in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = self._rows[index]
        images = self._read(np.atleast_1d(rows))
        return images if rows.ndim else images[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def taken(self, rows: np.ndarray) -> "LazyImages":
        """Return the images of `rows`, whole numbers (k,), which stay on the disk as well."""
        return LazyImages(lambda places: self._read(rows[places]), (len(rows), *self.shape[1:]), self.dtype)

    def mapped(self, function: Callable[[np.ndarray], np.ndarray], count: int | None = None) -> "LazyImages":
        """Return the first `count` images with `function` applied to those that are read, a map of k images to k."""
        first = function(self[:1])
        shape = (len(self._rows[:count]), *first.shape[1:])
        return LazyImages(lambda rows: function(self._read(rows)), shape, first.dtype)


def as_rows(x: Any) -> Any:
    """Return `x` as a numpy array, or unchanged if it is `LazyImages`."""
    return x if isinstance(x, LazyImages) else np.asarray(x)


def blocks(array: Any) -> Iterator[np.ndarray]:
    """Yield consecutive rows of an array or of `LazyImages`, some megabytes at a time."""
    step = max(1, _AT_ONCE * len(array) // max(1, array.nbytes))
    return (array[start : start + step] for start in range(0, len(array), step))


Split = Annotated[str, words("train", "test")]
Limit = Annotated[int, whole(1, None)]
TEST_FRACTION = 0.1


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set of images, as plain numpy.

    Attributes:
        images: uint8, shape `(n, height, width, channels)`, values `0..levels-1`;
            `LazyImages` of that shape if they are not held in memory.
        labels: int64, shape `(n,)`, or None if the source has none.
        levels: the number of values that a pixel can take: 256, or 17 for `digits`. Dequantisation divides by it,
            and bits per dimension are counted with it.
        name: the name or path that was loaded.
        classes: the names of the labels, `classes[label]`, if the source has names.

    Example:
        >>> data = Dataset(np.zeros((2, 4, 4, 1), "uint8"), None, levels=256, name="zeros")
        >>> data
        Dataset(name='zeros', images=(2, 4, 4, 1), labels=None, levels=256)
        >>> len(data)
        2
    """

    images: np.ndarray | LazyImages
    labels: np.ndarray | None
    levels: int
    name: str
    classes: tuple[str, ...] | None = None

    def __len__(self):
        return len(self.images)

    def take(self, rows: np.ndarray) -> "Dataset":
        """Return the images at some places."""
        images = self.images.taken(rows) if isinstance(self.images, LazyImages) else self.images[rows]
        return replace(self, images=images, labels=None if self.labels is None else self.labels[rows])

    def hashed(self) -> tuple[list[Any], list[Any]]:
        """Return what `content_hash` depends on: a description, and the arrays or None."""
        return [self.levels], [self.images, self.labels]

    def __repr__(self):
        # The generated repr would print the pixels.
        labels = None if self.labels is None else self.labels.shape
        return (
            f"Dataset(name={self.name!r}, images={self.images.shape}, labels={labels}, levels={self.levels})"
        )


def split_rows(count: int, split: str, source: str | Path, of: str = "rows") -> np.ndarray:
    """Return the numbers of one split of `count` rows, or of what `of` says, ascending, the same on every machine."""
    if count < 2:
        raise FileError(f"{source}: got {count}, expected at least 2 {of} for a 90/10 split. Add some.")
    order = np.random.default_rng(0).permutation(count)
    test = max(1, round(count * TEST_FRACTION))
    return np.sort(order[:test] if split == "test" else order[test:])


# Hashes

_MOST_BYTES = 2**28  # of an array that `fingerprint` reads: a quarter of a second, also of a file of many GB


class Hashed(Protocol):
    """One split of a data set: `Dataset` or `Table`."""

    def hashed(self) -> tuple[list[Any], list[Any]]:
        """Return what `content_hash` depends on: a description, and the arrays or None."""


def content_hash(*splits: Hashed) -> str:
    """Return the SHA-256 of the splits, in order, as 64 hexadecimal digits.

    It depends on what a model sees: types, shapes and values of images with their labels, or of a table with the names
    of its columns. It does not depend on the file: the same images as PNG and as an array have one sum. All bytes are
    read, so that others can compare it.

    >>> content_hash(Dataset(np.zeros((1, 2, 2, 1), "uint8"), None, levels=256, name="a"))[:8]
    '16224fcd'
    """
    digest = hashlib.sha256()
    for split in splits:
        said, arrays = split.hashed()
        for array in arrays:
            if array is not None:
                little = np.dtype(array.dtype).newbyteorder("<")  # on any machine
                said += [little.str, array.shape]
                for block in blocks(array):
                    digest.update(np.ascontiguousarray(block, little).data)
        digest.update(repr(said).encode())
    return digest.hexdigest()


def fingerprint(*arrays: Any) -> str:
    """Return 32 hexadecimal digits that follow from the shapes, the types and the entries of numpy arrays.

    Of arrays beyond 256 MB, rows in equal distances are read, the first and the last among them: enough to see that a
    run would go on with other data.

    >>> x = np.arange(6.0).reshape(3, 2)
    >>> fingerprint(x) == fingerprint(x.copy()), fingerprint(x) == fingerprint(x + 1)
    (True, False)
    """
    digest = hashlib.blake2b(digest_size=16)
    for array in map(as_rows, arrays):
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        count = min(len(array), max(2, _MOST_BYTES * len(array) // max(1, array.nbytes)))
        rows = np.linspace(0, len(array) - 1, count).astype("int64")
        digest.update(np.ascontiguousarray(array[rows]).data)
    return digest.hexdigest()
