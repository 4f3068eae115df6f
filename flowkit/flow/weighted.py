"""Weighted draws: their effective number, and resampling."""

import numpy as np


def effective(weights: np.ndarray) -> float:
    """Return (sum of w)^2 / sum of w^2: the number of draws of equal weight that are worth as much, 0 for zeros.

    >>> effective(np.array([2.0, 2.0, 0.0]))
    2.0
    """
    return float(weights.sum() ** 2 / max(np.square(weights).sum(), 1e-300))


def resampled(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` places in ascending order, each n w / (sum of w) times, rounded up or down (systematic resampling).

    >>> resampled(np.array([1.0, 0.0, 3.0]), 4, np.random.default_rng(0)).tolist()
    [0, 2, 2, 2]
    """
    total = np.cumsum(weights)
    places = np.searchsorted(total, (rng.random() + np.arange(n)) * total[-1] / max(1, n), side="right")
    return np.minimum(places, np.flatnonzero(weights)[-1])
