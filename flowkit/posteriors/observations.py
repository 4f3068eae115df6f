"""Data of a posterior: vectors, or sets of varying size, with gaps that become masks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from flowkit.conditioners import RandomSizes
from flowkit.posteriors.prior import as_float32


@dataclass(frozen=True)
class Observations:
    """Which data a posterior takes, and what its flow receives of them.

    - `event`: the shape of one datum; with `sizes` (most, k): sets of up to `most` rows, filled up with rows of NaN.
    - `sizes`: the smallest and the largest number of rows of a set, or None.
    - `gaps`: bool (*event), or (k,) for sets, where entries may be NaN, as in some simulation; None if the flow sees no
      masks.
    """

    event: tuple[int, ...]
    sizes: tuple[int, int] | None = None
    gaps: np.ndarray | None = None

    @classmethod
    def of(cls, x: np.ndarray, sizes: tuple[int, int] | None, missing: str) -> "Observations":
        """Return those of simulations `x`, (n, *event)."""
        if sizes is None:
            return cls(x.shape[1:], None, np.isnan(x).any(axis=0) if missing == "model" else None)
        return cls(x.shape[1:], sizes, (np.isnan(x) & _present(x)[..., None]).any(axis=(0, 1)))

    def rows(self, x: ArrayLike) -> tuple[np.ndarray, bool]:
        """Return data (b, *event) in float32, and if a single one came without a batch axis.

        Sets are (n, k), or (n,) for k = 1, of any size; several of them (b, n, k), or a list of arrays. Raises
        ValueError for data of another shape, infinite ones, and NaN where no simulation has any.
        """
        if self.sizes is not None and _is_list_of_sets(x):
            sets = [self._set(as_float32(each, "an observation")) for each in x]  # type: ignore[union-attr]
            rows, one = np.concatenate(sets), False
        else:
            array = as_float32(x, "an observation")
            if self.sizes is None:
                one = array.shape == self.event
                rows = array[None] if one else array
            else:
                one = array.ndim < 3
                rows = self._set(array)
        if rows.shape[1:] != self.event:
            raise ValueError(
                f"observation: got an array of shape {rows.shape}, expected {self.event}, or (b, "
                f"{', '.join(map(str, self.event))}) for b observations: that of the simulations."
            )
        self._check_entries(rows)
        return rows, one

    def _set(self, array):
        """Return one set or several of a size, (b, n, k), filled up with rows of NaN."""
        (most, width), shape = self.event, array.shape
        array = array[:, None] if array.ndim == 1 and width == 1 else array
        array = array[None] if array.ndim == 2 else array
        if array.ndim != 3 or array.shape[2] != width or not self.sizes[0] <= array.shape[1] <= most:
            raise ValueError(
                f"observation: got an array of shape {shape}, "
                f"expected (n, {width}) with n from {self.sizes[0]} to {most}, the sizes of training; (b, n, {width}), "
                "or a list of arrays, for several data sets."
            )
        return np.pad(array, ((0, 0), (0, most - array.shape[1]), (0, 0)), constant_values=np.nan)

    def _check_entries(self, rows):
        if np.isinf(rows).any():
            row, *entry = np.argwhere(np.isinf(rows))[0].tolist()
            raise ValueError(
                f"observation: got {rows[row, *entry]} in entry {', '.join(map(str, entry))} of row {row}, expected "
                "finite numbers. Repair the observation."
            )
        gone = np.isnan(rows)
        known = np.zeros(self.event, bool) if self.gaps is None else self.gaps
        if self.sizes is not None:
            gone &= _present(rows)[..., None]
        if (gone & ~known).any():
            row, *place = np.argwhere(gone & ~known)[0].tolist()
            cure = (
                "have the simulator return NaN there as often as it is missing"
                if self.gaps is not None
                else "train with missing='model' on simulations that have such gaps"
            )
            raise ValueError(
                f"observation: got NaN in entry {', '.join(map(str, place))} of row {row}, expected a number, "
                f"since no simulation has a gap there. To take missing entries, {cure}."
            )
        few = 1 if self.sizes is None else self.sizes[0]
        count = self.counts(rows)
        if self.sizes is None:
            count = (~np.isnan(rows)).reshape(len(rows), -1).any(axis=1)
        if (count < few).any():
            raise ValueError(
                f"observation: got {int(count.min())} entries that are there, expected at least {few}."
            )

    def context(self, rows: np.ndarray) -> np.ndarray:
        """Return what the flow receives of data: with masks (n, ..., 2k), values with 0 in gaps, then 1 if there."""
        if self.gaps is None:
            return rows
        there = ~np.isnan(rows)
        return np.concatenate([np.where(there, rows, 0), there], axis=-1, dtype="float32")

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of observations of each set, (b,): 1 of other data."""
        return np.ones(len(rows), int) if self.sizes is None else _present(rows).sum(axis=1)

    def of_size(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Return the first `count` observations of each set, without sets that have fewer; other data as they are."""
        if self.sizes is None:
            return rows
        there = _present(rows)
        kept = there & (np.cumsum(there, axis=1) <= count)
        return np.where(kept[..., None], rows, np.float32(np.nan))[kept.sum(axis=1) == count]

    def cut(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Return sets of random sizes out of `rows`; other data as they are."""
        if self.sizes is None:
            return rows
        kept = RandomSizes(self.sizes, seed=seed)(self.context(rows), training=True)
        there = ops.convert_to_numpy(kept)[..., rows.shape[-1] :] > 0
        return np.where(there, rows, np.float32(np.nan))


def _present(rows):
    """Return which rows of sets are there: those with any entry, (b, n)."""
    return ~np.isnan(rows).all(axis=-1)


def _is_list_of_sets(x: Any) -> bool:
    """Return True for a list of arrays, and for a list of lists that have different lengths."""
    if not isinstance(x, list | tuple) or not len(x):
        return False
    return any(isinstance(each, np.ndarray) and each.ndim for each in x) or (
        len({len(each) if hasattr(each, "__len__") else -1 for each in x}) > 1
    )
