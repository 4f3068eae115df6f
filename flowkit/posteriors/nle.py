"""Neural likelihood estimation: a posterior that a flow of the data, given parameters, makes of the prior.

It is drawn from by tempering: from the prior to the posterior in steps, with moves in between.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from flowkit.flow.weighted import effective, resampled
from flowkit.posteriors.npe import Posterior

_LEAST = 1000  # draws that are tempered together


class LikelihoodPosterior(Posterior):
    """p(parameters | data) from a flow of the data, p(data | parameters), and the prior's density.

    What `flowkit.posterior(..., method="nle")` returns. `sample` tempers draws of the prior, with thousands of
    densities for each observation, so a draw costs more than that of a `Posterior`. `log_prob` is
    log p(theta) + log p(x | theta): the constant -log p(x) is not known. `check` is that of the likelihood: are data of
    given parameters drawn as the simulator draws them?

    >>> import flowkit
    >>> rng = np.random.default_rng(0)
    >>> def simulator(theta):
    ...     return theta + 0.1 * rng.normal(size=theta.shape)
    >>> options = {"simulations": 200, "epochs": 2, "layers": 2, "verbose": 0}
    >>> flowkit.posterior(simulator, [(0, 1), (0, 2)], method="nle", **options)
    LikelihoodPosterior(2 parameters given data of shape (2,), from 200 simulations)
    """

    method = "nle"

    def refine(self, *given: Any, **options: Any) -> Any:
        """Raise ValueError: draws of prior x likelihood have no density that weighs them."""
        raise ValueError(
            "refine: got a posterior of method='nle', expected one of method='npe', whose density is known."
        )

    def _sample(self, n, rows, seed):
        rng = np.random.default_rng(seed)
        drawn = [rng.permutation(self._tempered(row, max(n, _LEAST), rng))[:n] for row in rows]
        return np.stack(drawn, axis=1)

    def _tempered(self, row, size, rng):
        """Return draws of the posterior of one observation."""

        def log_likelihood(theta):
            return self._likelihood(theta, np.repeat(row[None], len(theta), axis=0))

        return tempered(self.prior.draw(size, rng), self.prior.log_prob, log_likelihood, rng)

    def proposals(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return `n` draws of the posterior of the observation."""
        return self.sample(n, seed=int(rng.integers(2**31)))

    def _likelihood(self, theta, rows):
        return np.nan_to_num(self.flow.log_prob(rows, theta.astype("float32")), nan=-np.inf, neginf=-np.inf)

    def _log_prob(self, theta, rows):
        return self.prior.log_prob(theta) + self._likelihood(theta, rows)

    def _summaries(self, rows):
        return rows

    def events(self, theta: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x, theta


# Tempering

LogDensity = Callable[[np.ndarray], np.ndarray]
_MOVES = 6  # of each draw after each step
_LAST_MOVES = 24


def tempered(
    start: np.ndarray, log_prior: LogDensity, log_likelihood: LogDensity, rng: np.random.Generator
) -> np.ndarray:
    """Return draws of p(theta) L(theta) / Z, as many as there are rows in `start`, which are draws of p(theta).

    Sequential Monte Carlo through the densities p L^b: b grows from 0 to 1 such that half of the draws remain effective
    in each step. They are resampled by L^(b' - b), then moved by Metropolis steps along differences of two other draws,
    so that several modes need no tuning. Raises ValueError if L is 0 for all of `start`.

    Del Moral, Doucet & Jasra, Sequential Monte Carlo Samplers (2006); ter Braak, A Markov Chain Monte Carlo Version of
    the Genetic Algorithm Differential Evolution (2006), for the moves.

    >>> rng = np.random.default_rng(0)
    >>> def standard_normal(theta):
    ...     return -0.5 * (theta**2).sum(axis=1)
    >>> def near_two(theta):
    ...     return -0.5 * ((theta - 2.0) ** 2).sum(axis=1)
    >>> drawn = tempered(rng.normal(size=(2000, 1)), standard_normal, near_two, rng)
    >>> bool(abs(drawn.mean() - 1.0) < 0.1), bool(abs(drawn.var() - 0.5) < 0.1)
    (True, True)
    """
    theta = np.array(start)
    prior, likelihood = log_prior(theta), log_likelihood(theta)
    if not np.isfinite(likelihood).any():
        raise ValueError(
            "posterior: the likelihood of the observation is 0 for all draws of the prior. Check the observation, or "
            "simulate more."
        )
    power = 0.0
    while power < 1.0:
        step = _step(likelihood, 1.0 - power)
        power = min(power + step, 1.0)
        kept = resampled(_weights(step * likelihood), len(theta), rng)
        theta, prior, likelihood = theta[kept], prior[kept], likelihood[kept]
        for _ in range(_LAST_MOVES if power == 1.0 else _MOVES):
            _move(theta, prior, likelihood, power, log_prior, log_likelihood, rng)
    return theta


def _step(likelihood, most):
    """Return the largest step, up to `most`, after which half of the draws are effective."""

    def enough(step):
        return 2 * effective(_weights(step * likelihood)) >= len(likelihood)

    if enough(most):
        return most
    low, high = 0.0, most
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if enough(middle) else (low, middle)
    return high  # above 0, if the draws of likelihood 0 are more than half


def _weights(log_weights):
    """Return weights of which the largest is 1."""
    return np.exp(log_weights - log_weights.max())


def _move(theta, prior, likelihood, power, log_prior, log_likelihood, rng):
    """Move each draw in place by one Metropolis step: one half along differences of the other, then the other half."""
    n, d = theta.shape
    order = rng.permutation(n)
    halves = order[: n // 2], order[n // 2 :]
    spread = 1e-4 * theta.std(axis=0)
    for half, other in (halves, halves[::-1]):
        one, two = rng.choice(other, (2, len(half)))
        # A whole difference of two draws leads from one mode to another.
        scale = np.where(rng.uniform(size=(len(half), 1)) < 0.1, 1.0, 2.38 / np.sqrt(2 * d))
        moved = theta[half] + scale * (theta[one] - theta[two]) + spread * rng.normal(size=(len(half), d))
        moved = moved.astype(theta.dtype)  # before its bounds are checked
        moved_prior = log_prior(moved)
        moved_likelihood = np.full(len(half), -np.inf)
        if (inside := np.isfinite(moved_prior)).any():
            moved_likelihood[inside] = log_likelihood(moved[inside])
        gain = moved_prior - prior[half] + power * (moved_likelihood - likelihood[half])
        taken = np.log(rng.uniform(size=len(half))) < gain
        rows = half[taken]
        theta[rows], prior[rows], likelihood[rows] = moved[taken], moved_prior[taken], moved_likelihood[taken]
