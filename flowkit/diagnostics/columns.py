"""The column, and the pair of columns, in which draws differ most from data, and how far chance goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from flowkit.data.category import Category
from flowkit.data.column_types import ColumnType, Date

_SWAPS = 99  # of data with draws
_GRID = 64  # quantiles at which shares of rows are compared
_MOST = 20  # categories of a column
_WIDTH, _WAVES, _FOLDS = 30, 300, 5  # of the classifier


@dataclass(frozen=True)
class Difference:
    """A share of rows, or a correlation, in data and in draws, and how far from each other chance brings them.

    `at`: the places of one or two features.
    """

    at: tuple[int, ...]
    words: str
    data: float
    draws: float
    chance: float

    @property
    def size(self) -> float:
        """Return how far draws are from the data."""
        return abs(self.data - self.draws)

    @property
    def real(self) -> bool:
        """Return True if chance goes less far, in 99 of 100 right flows in all columns, or pairs, at once."""
        return self.size > self.chance


@dataclass(frozen=True)
class Features:
    """Numbers of rows, (2 n, features), n of data and as many of draws: see `features`.

    `places`: the place of each feature's column in `names`, in order. `words`: of each feature. `kinds`: the type of
    its column if it is a number, and "" if it is an indicator.
    """

    values: np.ndarray
    names: tuple[Any, ...]
    places: np.ndarray
    words: tuple[str, ...]
    kinds: tuple[Any, ...]


def features(names: Sequence[Any], types: Sequence[ColumnType | None], codes: np.ndarray) -> Features:
    """Return a number for each column of numbers or dates, and an indicator for each category and for missing entries.

    `types` has None for a column whose codes are its numbers. A category is an indicator if it is one of the 20 most
    frequent ones of its column.
    """
    found: list[tuple[np.ndarray, int, str, Any]] = []
    for place, (name, kind) in enumerate(zip(names, types, strict=True)):
        numbers = codes[:, place] if kind is None else kind.drawable(codes[:, place])
        absent = np.isnan(numbers)
        if isinstance(kind, Category):
            counts = [np.sum(numbers == code) for code in range(len(kind.values))]
            common = np.sort(np.argsort(counts)[::-1][:_MOST])
            found += [(numbers == code, place, f"{name} = {kind.values[code]}", "") for code in common]
        else:
            middle = np.median(numbers[~absent]) if not absent.all() else 0.0
            found.append((np.where(absent, middle, numbers), place, str(name), kind or "number"))
        if absent.any():
            found.append((absent, place, f"{name} missing", ""))
    values, places, words, kinds = zip(*found, strict=True)
    return Features(np.stack(values, axis=1).astype("float64"), tuple(names), np.array(places), words, kinds)


def told_apart(found: Features, seed: int = 0) -> float:
    """Return C2ST, the share of rows that a classifier assigns rightly to data or draws: 0.5 if they are alike.

    The classifier is a ridge regression on ranks of the features, their squares and products, and 300 random cosines of
    them, tested on each fifth of the rows by the others. Of more than 30 features it sees the principal components. It
    is quick, and its share is near to that of `flowkit.evaluation.c2st`, which trains networks. Rahimi & Recht, Random
    Features for Large-Scale Kernel Machines (2007).
    """
    rng = np.random.default_rng(seed)
    ranks = _standardized(stats.rankdata(found.values, axis=0))
    if ranks.shape[1] > _WIDTH:
        ranks = _standardized(ranks @ np.linalg.svd(ranks, full_matrices=False)[2][:_WIDTH].T)
    size = ranks.shape[1]
    one, other = np.triu_indices(size)
    waves = ranks @ rng.normal(size=(size, _WAVES)) / size**0.5 + rng.uniform(0, 2 * np.pi, _WAVES)
    seen = _standardized(np.hstack([ranks, ranks[:, one] * ranks[:, other], np.cos(waves)]))
    n, ridge = len(ranks) // 2, seen.shape[1] * np.eye(seen.shape[1])
    labels, fold = np.repeat([-1.0, 1.0], n), np.tile(rng.permutation(n) % _FOLDS, 2)
    right = 0
    for number in range(_FOLDS):
        rows, others = seen[fold == number], seen[fold != number]
        slopes = np.linalg.solve(others.T @ others + ridge, others.T @ labels[fold != number])
        right += np.sum((rows @ slopes > 0) == (labels[fold == number] > 0))
    return float(right / len(ranks))


def worst_column(found: Features, modelled: int, seed: int = 0) -> Difference:
    """Return the largest difference of the share of rows that have a category, or a number up to some limit.

    Of the first `modelled` columns the one that is farthest beyond chance: how far chance goes is known from 99 sets in
    which rows of data have changed places with draws at random.
    """
    n = len(found.values) // 2
    signs = np.where(_swaps(n, seed), -1, 1).astype("float32")
    rows = []
    for place in np.flatnonzero(found.places < modelled):
        column = found.values[:, place]
        levels = np.linspace(0, 1, _GRID + 1)[1:-1]
        grid = np.unique(np.quantile(column, levels, method="inverted_cdf")) if found.kinds[place] else [0.0]
        within = column[:, None] <= grid
        less = within[:n].astype("float32") - within[n:]
        at = int(np.argmax(np.abs(less.mean(axis=0))))
        shares = [part[:, at].mean() for part in (within[:n], within[n:])]
        rows.append((place, grid[at], *shares, np.abs(signs @ less / n).max(axis=1)))
    limits = _limits(np.stack([row[-1] for row in rows], axis=1))
    worst = _worst(np.array([abs(row[2] - row[3]) for row in rows]), limits)
    place, limit, data, draws, _ = rows[worst]
    words, kind = found.words[place], found.kinds[place]
    if kind:
        words = f"{words} <= {_written(limit, kind)}"
    else:
        data, draws = 1 - data, 1 - draws
    return Difference((int(place),), words, float(data), float(draws), float(limits[worst]))


def worst_pair(found: Features, modelled: int, seed: int = 0) -> Difference | None:
    """Return the largest difference of rank correlations of two columns; None for a single column.

    Of a category or missing entries it is the correlation of their indicator. At least one of the two is among the
    first `modelled` columns. Chance is that of `worst_column`.
    """
    places, starts = np.unique(found.places, return_index=True)
    allowed = np.triu(np.ones((len(places), len(places)), bool), 1) & (places < modelled)[:, None]
    if not allowed.any():
        return None
    ranks = stats.rankdata(found.values, axis=0)
    data, draws = np.split(ranks, 2)

    def differences(swap):
        swap = swap[:, None]
        both = [_correlations(np.where(swap, *order)) for order in ((draws, data), (data, draws))]
        return both, np.abs(both[0] - both[1])

    def by_column(difference):
        return np.maximum.reduceat(np.maximum.reduceat(difference, starts, axis=0), starts, axis=1)[allowed]

    limits = _limits(np.stack([by_column(differences(swap)[1]) for swap in _swaps(len(data), seed)]))
    both, difference = differences(np.zeros(len(data), bool))
    worst = _worst(by_column(difference), limits)
    pair = [places[side[worst]] for side in np.nonzero(allowed)]
    inside = np.ix_(*(np.flatnonzero(found.places == place) for place in pair))
    first, second = np.unravel_index(np.argmax(difference[inside]), difference[inside].shape)
    one, other = inside[0][first, 0], inside[1][0, second]
    return Difference(
        (int(one), int(other)),
        f"{found.words[one]} and {found.words[other]}",
        *(float(of[one, other]) for of in both),
        float(limits[worst]),
    )


def _swaps(n, seed):
    """Return which rows of data change places with draws, in each of the sets."""
    return np.random.default_rng(seed).random((_SWAPS, n)) < 0.5


def _limits(by_chance):
    """Return how far chance brings each of (sets, statistics), the same number of deviations for all."""
    mean, deviation = by_chance.mean(axis=0), by_chance.std(axis=0)
    farthest = ((by_chance - mean) / np.maximum(deviation, 1e-9)).max()
    return mean + deviation * farthest


def _worst(sizes, limits):
    """Return the place of the difference that is farthest beyond chance; if none is, of the most unlikely one."""
    unlikely = sizes / np.maximum(limits, 1e-9)
    return int(np.argmax(np.where(unlikely > 1, 1 + sizes - limits, unlikely)))


def _standardized(rows):
    """Return columns with mean 0 and deviation 1; 0 for a constant."""
    scale = rows.std(axis=0)
    return (rows - rows.mean(axis=0)) / np.where(scale > 1e-9, scale, 1.0)


def _correlations(rows):
    """Return correlations of columns, 0 for those of a constant."""
    rows = _standardized(rows)
    return rows.T @ rows / len(rows)


def _written(number, kind):
    """Return a number of a column, or a date of days, in words."""
    return str(np.datetime64(int(number), "D")) if isinstance(kind, Date) else f"{number:.6g}"
