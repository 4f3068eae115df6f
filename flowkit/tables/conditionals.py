"""The density of one column given the others of a row, by the flow's density of the row over values of the column."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowkit.data.category import Category
from flowkit.data.column_types import ColumnType, bounds_of

_ALL = 64  # values of a column, at most, all of which are tried
_POINTS, _MORE, _ROUNDS = 17, 24, 3  # values at first, and how many more in each round
_BEYOND = (0.02, 0.1, 0.5)  # times the range of the data, on both sides of it
_RUNS = 3  # of values, at most, in which the mass is
_GAP = 0.01  # of the mass, at least, is between two runs


@dataclass(frozen=True)
class Conditional:
    """p(entry of a column | the others of the row) of several rows, as masses at values.

    - `values`: codes, (rows, k): `numbers` of them in rising order, then single ones, which have a probability beside
      numbers: those of atoms, and NaN for a missing entry. `log_density`: their log-densities, which are
      log-probabilities for what is no real number. `mass`: of each, (rows, k), which sum to 1.
    - `own`: log p of the row's entry, (rows,). `single`: which rows have a single value.
    """

    kind: ColumnType
    values: np.ndarray
    log_density: np.ndarray
    mass: np.ndarray
    own: np.ndarray
    single: np.ndarray
    numbers: int

    @property
    def surprise(self) -> np.ndarray:
        """Return E[log p(entry)] - log p(the row's entry), (rows,): how many nats the entry is below the average one.

        Beside single values it is that of "which of them, or a number", and that of the number among numbers. So it
        does not depend on the unit of the column.
        """
        terms = np.where(self.mass > 0, self.mass * self.log_density, 0.0)
        share = np.sum(self.mass[:, : self.numbers], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_share = np.log(share)
            entropy = np.sum(terms[:, : self.numbers], axis=1) / share
            average = np.where(share > 0, share * log_share, 0.0) + np.sum(terms[:, self.numbers :], axis=1)
        return np.where(self.single, average - self.own, average - self.own + entropy - log_share)

    def runs(self, row: int, share: float) -> list[tuple[float, float, float]]:
        """Return (first value, last value, mass) of the fewest values of a row that have a share of the mass.

        Values side by side are one run, at most three of numbers; they come in order of the values, of categories in
        order of the mass. Single values are runs of their own, and come last.
        """
        values, mass, height = self.values[row], self.mass[row], self.log_density[row].copy()
        # A probability is no density: likely single values come before all numbers, others after them.
        height[self.numbers :] = np.where(mass[self.numbers :] > 1 - share, math.inf, -math.inf)
        order = np.argsort(-height, kind="stable")
        count = 1 + int(np.searchsorted(np.cumsum(mass[order]), share * mass.sum()))
        chosen = np.sort(order[:count])
        if isinstance(self.kind, Category):
            return [(values[at], values[at], mass[at]) for at in sorted(chosen, key=lambda at: -mass[at])]
        single = [(values[at], values[at], mass[at]) for at in chosen if at >= self.numbers]
        chosen = chosen[chosen < self.numbers]
        runs = np.split(chosen, 1 + np.flatnonzero(np.diff(chosen) > 1)) if len(chosen) else []
        ends = [[int(run[0]), int(run[-1])] for run in runs]
        while len(ends) > 1:
            gaps = [mass[left[1] + 1 : right[0]].sum() for left, right in itertools.pairwise(ends)]
            least = int(np.argmin(gaps))
            if len(ends) <= _RUNS and gaps[least] >= _GAP:
                break
            ends[least : least + 2] = [[ends[least][0], ends[least + 1][1]]]
        return [(values[a], values[b], mass[a : b + 1].sum()) for a, b in ends] + single


def conditional(
    kind: ColumnType, own: np.ndarray, log_density: Callable[[np.ndarray], np.ndarray]
) -> Conditional:
    """Return p(entry | the others) of a column of a type, for rows with the codes `own`, (rows,).

    `log_density(values)` is log p of the rows with each of their values, (rows, k), in place of the column. All values
    of a column that has few are tried. Of others those at quantiles of the data and beyond, then those where the
    density is, three times; the integral is that of the polygon through them. Single values are tried beside numbers.
    """
    atoms = list(getattr(kind, "atom_codes", ()))
    singles = [*atoms, math.nan] if kind.missing and math.isnan(kind.missing_code) else atoms
    single = np.isin(own, atoms) | np.isnan(own)
    whole, every, grid = _grid(kind, np.where(single, math.nan, own))

    def of_numbers(values):
        return np.where(np.isin(values, atoms), -np.inf, log_density(values))

    logs = of_numbers(grid)
    for _ in range(0 if every else _ROUNDS):
        more = _between(grid, logs)
        more = np.floor(more + 0.5) if whole else more
        grid, logs = np.concatenate([grid, more], axis=1), np.concatenate([logs, of_numbers(more)], axis=1)
        order = np.argsort(grid, axis=1, kind="stable")
        grid, logs = np.take_along_axis(grid, order, axis=1), np.take_along_axis(logs, order, axis=1)
    log_mass = logs if every else logs + _log_widths(grid, whole)
    numbers = grid.shape[1]
    if singles:
        beside = np.tile(np.array(singles), (len(grid), 1))
        log_beside = log_density(beside)
        grid = np.concatenate([grid, beside], axis=1)
        logs, log_mass = (np.concatenate([part, log_beside], axis=1) for part in (logs, log_mass))
    total = np.logaddexp.reduce(log_mass, axis=1, keepdims=True)
    same = (grid == own[:, None]) | (np.isnan(grid) & np.isnan(own)[:, None])
    log_own = np.where(same, logs, -np.inf).max(axis=1) - total[:, 0]
    return Conditional(kind, grid, logs - total, np.exp(log_mass - total), log_own, single, numbers)


def _grid(kind: Any, own: np.ndarray) -> tuple[bool, bool, np.ndarray]:
    """Return (whole numbers or not, all of them or not, the first values to try, with each row's own, in order)."""
    word, *levels = kind.coding if isinstance(kind.coding, tuple) else (kind.coding,)
    whole = word in ("whole", "cycle", "category")
    if isinstance(kind, Category) or (whole and levels[0] <= _ALL):
        return True, True, np.tile(np.arange(float(levels[0])), (len(own), 1))
    beyond = np.array(_BEYOND) * (kind.quantiles[-1] - kind.quantiles[0])
    points = np.quantile(kind.quantiles, np.linspace(0, 1, _POINTS))
    points = np.concatenate([kind.quantiles[0] - beyond, points, kind.quantiles[-1] + beyond])
    if whole:
        points = np.clip(np.floor([0, *points, levels[0] - 1]), 0, levels[0] - 1)
    else:
        low, high = bounds_of(kind.coding)
        points = points[(points > low) & (points < high)]
    present = np.where(np.isnan(own), points[0], own)[:, None]
    return whole, False, np.sort(np.concatenate([np.tile(points, (len(own), 1)), present], axis=1), axis=1)


def _between(grid, logs):
    """Return values at quantiles of the root of the density, which has more of them in its tails, (rows, more)."""
    heights = np.exp((logs - logs.max(axis=1, keepdims=True)) / 2)
    parts = np.diff(grid, axis=1) * (heights[:, 1:] + heights[:, :-1])
    ends = np.pad(np.cumsum(parts, axis=1), ((0, 0), (1, 0)))
    shares = (np.arange(_MORE) + 0.5) / _MORE
    return np.stack([np.interp(shares * end[-1], end, row) for end, row in zip(ends, grid, strict=True)])


def _log_widths(grid, whole):
    """Return the logarithms of the widths that values stand for in the area of a polygon; half a step more at ends."""
    steps = np.pad(np.diff(grid, axis=1) / 2, ((0, 0), (1, 1)), constant_values=0.5 if whole else 0.0)
    with np.errstate(divide="ignore"):
        return np.log(steps[:, 1:] + steps[:, :-1])
