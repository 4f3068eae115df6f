"""Images that stay on the disk until rows of them are indexed."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flowkit.contract.configured import one_line
from flowkit.data.bounded import check_shape
from flowkit.data.validate import validate_images, with_channels

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


def images_of(
    array: np.ndarray, rows: np.ndarray, name: str, max_bytes: int, in_memory: bool
) -> np.ndarray | LazyImages:
    """Return the `rows` of an array as images: checked, uint8, in memory.

    Without `in_memory`, an array of uint8 that is mapped from a file stays there, as `LazyImages`.
    """
    if isinstance(array, np.memmap) and not in_memory and array.dtype == np.uint8:
        array = with_channels(array, name)
        return LazyImages(lambda some: np.asarray(array[rows[some]]), (len(rows), *array.shape[1:]))
    check_shape(array.shape, array.itemsize, max_bytes, name)
    return np.asarray(validate_images(array, name=name)[rows])


def as_rows(x: Any) -> Any:
    """Return `x` as a numpy array, or unchanged if it is `LazyImages`."""
    return x if isinstance(x, LazyImages) else np.asarray(x)


def blocks(array: Any) -> Iterator[np.ndarray]:
    """Yield consecutive rows of an array or of `LazyImages`, some megabytes at a time."""
    step = max(1, _AT_ONCE * len(array) // max(1, array.nbytes))
    return (array[start : start + step] for start in range(0, len(array), step))
