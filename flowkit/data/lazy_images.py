"""Images that stay where they are until rows of them are asked for."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flowkit.contract.one_line import one_line

_AT_ONCE = 2**24  # bytes of a block


class LazyImages:
    """An array of images that is read as it is indexed: `images[rows]` is numpy, and nothing else is kept.

    Indexed along its first axis as an array is; `np.asarray` reads all of it. `flowkit.data.load` gives one for
    `in_memory=False`, and `flowkit.data.batches` takes it.

    Args:
        read: a function of row numbers `(k,)` whose answer is those images, uint8 `(k, height, width, channels)`.
        shape: of all, `(n, height, width, channels)`.

    Example:
        >>> ramp = LazyImages(lambda rows: rows.astype("uint8").reshape(-1, 1, 1, 1), shape=(100, 1, 1, 1))
        >>> ramp[[3, -1]].ravel().tolist(), ramp[:2].shape, ramp[5].shape, len(ramp)
        ([3, 99], (2, 1, 1, 1), (1, 1, 1), 100)
    """

    ndim = 4
    __repr__ = one_line

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int, int, int]) -> None:
        self._read = read
        self.shape = tuple(shape)
        self.dtype = np.dtype("uint8")
        self._rows = np.arange(self.shape[0])

    @property
    def nbytes(self) -> int:
        """What all would take in memory."""
        count, height, width, channels = self.shape
        return count * height * width * channels * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = self._rows[index]
        images = self._read(np.atleast_1d(rows))
        return images if rows.ndim else images[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def taken(self, rows: np.ndarray) -> "LazyImages":
        """Those of `rows`, whole numbers (k,), which stay where they are too."""
        images = LazyImages(lambda places: self._read(rows[places]), (len(rows), *self.shape[1:]))
        images.dtype = self.dtype
        return images

    def mapped(self, function: Callable[[np.ndarray], np.ndarray], count: int | None = None) -> "LazyImages":
        """The first `count` images, of which each has gone through `function`, a map of some images to as many."""
        first = function(self[:1])
        images = LazyImages(
            lambda rows: function(self._read(rows)), (len(self._rows[:count]), *first.shape[1:])
        )
        images.dtype = first.dtype
        return images


def rows_of(array: np.ndarray, rows: np.ndarray | None = None) -> LazyImages:
    """Those of `rows` (k,), or all, of a uint8 array (n, height, width, channels) that stays where it is, in a file."""
    rows = np.arange(len(array)) if rows is None else rows
    return LazyImages(lambda some: np.asarray(array[rows[some]]), (len(rows), *array.shape[1:]))


def as_rows(x: Any) -> Any:
    """`x` as a numpy array, or as the `LazyImages` that it is."""
    return x if isinstance(x, LazyImages) else np.asarray(x)


def blocks(array: Any) -> Iterator[np.ndarray]:
    """Consecutive rows of an array or of `LazyImages`, some megabytes at a time."""
    step = max(1, _AT_ONCE * len(array) // max(1, array.nbytes))
    return (array[start : start + step] for start in range(0, len(array), step))
