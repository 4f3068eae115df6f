"""The evidence of a model from draws of any sampler."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from flowkit.contract.arguments import Count, Seed, checked
from flowkit.densities.coordinates import Coordinates
from flowkit.densities.proposals import log_reciprocals, new_flow, train
from flowkit.diagnostics.inference import pareto_smoothed, relative_error, reliable
from flowkit.flow.inputs import real_numbers

_FEWEST = 500
_BATCHES = 20


@checked
def evidence(
    draws: ArrayLike,
    log_density_of_draws: ArrayLike,
    *,
    domains: Sequence[Any] | None = None,
    epochs: Count = 60,
    seed: Seed = 0,
) -> tuple[float, float]:
    """Return (log Z, its standard error) from draws of p / Z and the log p of each, by a learned harmonic mean.

    1 / Z is the mean of q / p over draws of p / Z, for any density q inside the mass of p. Here q is a flow that is
    trained on the first half of the draws, cut to its densest 0.7, and the mean is that of the second half.

    - `draws`: (n, features), from MCMC or any other sampler, in the order in which they were drawn; at least 500.
    - `log_density_of_draws`: log p of each in nats, (n,): log prior + log likelihood with all their constants, for Z
      to be the evidence.
    - `domains`: "real", "positive" or (low, high) for each feature, if p is 0 outside. Bounds help the flow.
    - `epochs`: of training, at most.

    The error is the larger of two: the scatter of the ratios, and that of 20 means of successive draws, which also
    holds if neighbours are correlated. It is infinite if the ratios have too heavy a tail, by Pareto k-hat. What the
    sampler missed it cannot show: a mode without draws is missing from Z.

    Raises ValueError for other shapes, NaN or infinity, draws outside of the domains, and fewer than 500.

    Polanska, Price, Piras, Spurio Mancini & McEwen, Learned harmonic mean estimation of the Bayesian evidence with
    normalizing flows (2024).

    >>> x = np.random.default_rng(0).normal(size=(2000, 2))
    >>> log_z, error = evidence(x, -0.5 * (x**2).sum(axis=1), epochs=2)
    >>> abs(log_z - math.log(2 * math.pi)) < 5 * error < 0.5
    True
    """
    x, log_p = (
        np.asarray(real_numbers(given, f"evidence's {name}"), "float64")
        for given, name in ((draws, "draws"), (log_density_of_draws, "log_density_of_draws"))
    )
    if x.ndim != 2 or len(x) < _FEWEST or log_p.shape != (len(x),):
        raise ValueError(
            f"evidence: got draws of shape {x.shape} and log-densities of shape {log_p.shape}, expected (n, features) "
            f"and (n,), with n from {_FEWEST} up. Put chains one after another, draws.reshape(-1, features)."
        )
    if not np.isfinite(log_p).all():
        row = int(np.argmin(np.isfinite(log_p)))
        raise ValueError(
            f"evidence's log_density_of_draws: got {log_p[row]} in row {row}, expected finite numbers."
        )
    place = Coordinates(x.shape[1], domains)
    place.check_inside(x, "evidence's draws")
    half = len(x) // 2
    place, _ = place.standardized(place.of_rows(x[:half]))
    u = place.of_rows(x).astype("float32")
    log_p = log_p + place.rows(u)[1]
    order = np.random.default_rng(seed).permutation(half)
    rows, held = u[order[half // 5 :]], u[order[: half // 5]]
    flow = new_flow(x.shape[1], seed)
    train(flow, rows, held, seed=seed, epochs=epochs, rate=2e-3)
    ratios = log_reciprocals(flow, u[half:], log_p[half:], seed)
    log_mean = logsumexp(ratios) - math.log(len(ratios))
    return float(-log_mean), error_of(ratios)


def error_of(log_ratios: np.ndarray) -> float:
    """Return the standard error of the log of the mean of ratios, in their order; infinite for a heavy tail.

    >>> ratios = np.random.default_rng(0).uniform(0.5, 1.5, 10_000)
    >>> bool(abs(error_of(np.log(ratios)) - math.sqrt(1 / 12 / 10_000)) < 0.001)
    True
    """
    if not np.isfinite(log_ratios).any() or pareto_smoothed(log_ratios)[1] >= reliable(len(log_ratios)):
        return math.inf
    means = [np.exp(part - log_ratios.max()).mean() for part in np.array_split(log_ratios, _BATCHES)]
    of_batches = np.std(means, ddof=1) / math.sqrt(_BATCHES) / np.mean(means)
    return float(max(relative_error(log_ratios), of_batches))
