"""Mass of a density that no draw of a flow came near, found by walks from the weighted draws."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import logsumexp

FEWEST, SHARE, STEPS = 100, 20, 40
"""Walkers at least, draws for each of them, and steps of each: twice as many evaluations of p as there are draws."""


def missed_mass(
    samples: np.ndarray,
    log_weights: np.ndarray,
    log_density: Callable[[np.ndarray], Any],
    log_flow: Callable[[np.ndarray], Any],
    seed: int,
) -> tuple[float, float]:
    """Return (the share of p in excess of the largest weight, its standard error).

    Where w = p / q is larger than every weight of the draws, they miss the share 1 - max(w) / w of the mass of p. Its
    mean over p is estimated by walkers. They start at weighted draws and take steps of Metropolis in the density p
    alone, so they also reach narrow parts of p that touch the part that was found, in which hardly any draw of q falls.
    The mean is a lower bound, because short walks do not go far.

    `log_density` and `log_flow` take samples and return (n,) log p, up to a constant, and log q.
    """
    x = _walked(samples, log_weights, log_density, np.random.default_rng([seed, STEPS]))
    larger = np.asarray(log_density(x) - log_flow(x), "float64") - log_weights.max()
    missed = -np.expm1(-np.maximum(larger, 0.0))
    # No walker of n that finds any leaves a share of 1 / n possible.
    error = math.hypot(missed.std(ddof=1) / math.sqrt(len(x)), 1 / len(x))
    return float(missed.mean()), error


def _walked(samples, log_weights, log_density, rng):
    """Return walkers after their steps: differences of weighted draws, 0.001 to 1 times as long.

    Every other step moves one entry alone (ter Braak, A Markov Chain Monte Carlo version of the genetic algorithm
    Differential Evolution, 2006).
    """
    count, weights = max(FEWEST, len(samples) // SHARE), np.exp(log_weights - logsumexp(log_weights))
    start = samples[rng.choice(len(samples), count, p=weights / weights.sum())]
    x, log_p = start.reshape(count, -1), log_density(start)
    ends, size = x, x.shape[1]
    for number in range(STEPS):
        step = ends[rng.integers(count, size=count)] - ends[rng.integers(count, size=count)]
        step = step * 10 ** rng.uniform(-3, 0, (count, 1))
        if number % 2:
            step = step * (np.arange(size) == rng.integers(size, size=(count, 1)))
        proposed = (x + step).astype(x.dtype)
        found = log_density(proposed.reshape(start.shape))
        accepted = np.log(rng.random(count)) < found - log_p  # not NaN
        x, log_p = np.where(accepted[:, None], proposed, x), np.where(accepted, found, log_p)
    return x.reshape(start.shape)
