"""A posterior that is a flow of the parameters, given data: neural posterior estimation."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit.contract.arguments import whole_number
from flowkit.diagnostics import Report, report
from flowkit.flow.flow import Flow
from flowkit.plots import pair_plot
from flowkit.posteriors.simulations import Prior, Simulator, as_float32, finite_pairs, simulated

_MASS = 1e-4  # of a posterior that a truncated prior may leave out
_DRAWS = 10_000  # to find the density that the rest of it exceeds
_TRIES = 2_000  # draws of the prior for each one that is kept


class Posterior:
    """p(parameters | data), learned as a flow of the parameters: what `flowkit.posterior` returns.

    - `flow`: the `flowkit.Flow` itself, conditional on data: save it by `flow.save`.
    - `theta`, `x`: the pairs that it was trained on, those held out among them.
    - `observation`: the data that `sample`, `log_prob` and `plot` take if they receive none. After several `rounds` the
      posterior is that of this observation only.

    Data are (*event), one observation, or (b, *event), several.

    >>> import flowkit
    >>> rng = np.random.default_rng(0)
    >>> def simulator(theta):
    ...     return theta + 0.1 * rng.normal(size=theta.shape)
    >>> posterior = flowkit.posterior(simulator, [(0, 1), (0, 2)], simulations=200, epochs=2, layers=2, verbose=0)
    >>> posterior.sample(5, np.array([0.5, 0.5])).shape, posterior.sample(5, np.ones((3, 2))).shape
    ((5, 2), (5, 3, 2))
    """

    def __init__(
        self,
        flow: Flow,
        prior: Prior,
        theta: np.ndarray,
        x: np.ndarray,
        *,
        simulator: Simulator | None = None,
        observation: ArrayLike | None = None,
        rounds: int = 1,
    ) -> None:
        self.flow, self.prior, self.theta, self.x, self.simulator = flow, prior, theta, x, simulator
        self.observation, self.rounds = observation, rounds
        self._low, self._high = x.min(axis=0), x.max(axis=0)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.prior.features} parameters given data of shape {self.x.shape[1:]}, from "
            f"{len(self.theta):,} simulations)"
        )

    def sample(self, n: int, x: ArrayLike | None = None, *, seed: int | None = None) -> np.ndarray:
        """Return `n` draws of the parameters, (n, features); for b observations (n, b, features)."""
        rows, one = self._observed(x)
        drawn = self._sample(whole_number(n, "sample's n", least=0), rows, seed)
        return drawn[:, 0] if one else drawn

    def log_prob(self, theta: ArrayLike, x: ArrayLike | None = None) -> np.ndarray:
        """Return log p(theta | x) in nats, (n,): of rows of parameters, given one observation or a row for each.

        Outside of the prior's bounds it is -inf.
        """
        theta = as_float32(theta, "parameters")
        rows, one = self._observed(x)
        if theta.ndim != 2 or theta.shape[1] != self.prior.features or not (one or len(rows) == len(theta)):
            raise ValueError(
                f"log_prob: got parameters of shape {theta.shape} and {len(rows)} observations, expected "
                f"(n, {self.prior.features}) and one observation, or n."
            )
        if np.isnan(theta).any():
            raise ValueError(
                f"log_prob: got NaN in row {np.argwhere(np.isnan(theta))[0, 0]}, expected numbers."
            )
        answer = np.full(len(theta), -np.inf, "float32")
        possible = self.prior.inside(theta)
        if possible.any():
            rows = np.repeat(rows, possible.sum(), axis=0) if one else rows[possible]
            answer[possible] = self._log_prob(theta[possible], rows)
        return answer

    def plot(
        self, x: ArrayLike | None = None, *, true: ArrayLike | None = None, samples: int = 1000, seed: int = 0
    ) -> Any:
        """Return a matplotlib figure of pairs of parameters: the prior, and the posterior of one observation.

        `true`: parameters to mark. Shows the first 6 parameters.
        """
        drawn = self.sample(samples, x, seed=seed)
        if drawn.ndim != 2:
            raise ValueError(f"plot: got {drawn.shape[1]} observations, expected one.")
        features = self.prior.features
        before = self.prior.draw(samples, np.random.default_rng(seed))
        names = self.prior.names or [f"parameter {i}" for i in range(features)]
        return pair_plot(before, drawn, list(names), labels=("prior", "posterior"), mark=true)

    def check(
        self,
        theta: ArrayLike | None = None,
        x: ArrayLike | None = None,
        *,
        pairs: int = 500,
        draws: int = 99,
        seed: int = 0,
    ) -> Report:
        """Return the diagnostics of the flow on pairs that it was not trained on: `flowkit.diagnostics.report`.

        `theta`, `x`: new pairs from the prior; without them `pairs` are simulated. Calibration, coverage, TARP and
        recovery among them: are the posteriors of these data right, and what do the data say about each parameter?

        Raises ValueError after several rounds, since the posterior of other observations was not learned.
        """
        if self.rounds > 1:
            raise ValueError(
                f"check: got a posterior of one observation, after {self.rounds} rounds, expected one of all data. "
                "Train one with rounds=1."
            )
        if theta is None:
            if self.simulator is None:
                raise ValueError("check: got no pairs and no simulator. Pass new pairs, check(theta, x).")
            pairs = whole_number(pairs, "check's pairs", least=2)
            theta = self.prior.draw(pairs, np.random.default_rng([seed, 1]))  # others than those of training
            theta, x = finite_pairs(theta, simulated(self.simulator, theta), leave_out=True)
        found = report(self.flow, *self.events(theta, x), draws=draws, seed=seed)
        for name in ("levels", "memorisation", "outliers"):  # which say nothing about posteriors
            found.left_out.pop(name, None)
        return found

    def _observed(self, x):
        """Return observations (b, *event), and if a single one came without a batch axis."""
        x = self.observation if x is None else x
        event = self.x.shape[1:]
        if x is None:
            raise ValueError("posterior: got no observation. Pass x, or observation= when it is made.")
        x = as_float32(x, "an observation")
        one = x.shape == event
        rows = x.reshape(1, *event) if one else x
        if rows.shape[1:] != event:
            raise ValueError(
                f"observation: got an array of shape {x.shape}, expected {event}, or (b, {', '.join(map(str, event))}) "
                "for b observations: that of the simulations."
            )
        if not np.isfinite(rows).all():
            raise ValueError("observation: got NaN or infinity, expected finite numbers.")
        self._warn_of_strange(rows)
        return rows, one

    def _warn_of_strange(self, rows):
        """Warn of observations far outside the simulations, of whose posterior the flow has learned nothing."""
        low, high = self._low, self._high
        far = (rows < low - (high - low)) | (rows > high + (high - low))
        if far.any():
            place = np.argwhere(far)[0]
            entry = tuple(place[1:])
            warnings.warn(
                f"observation: got {rows[tuple(place)]:.4g} in entry {', '.join(map(str, entry))}, while simulations "
                f"lie from {low[entry]:.4g} to {high[entry]:.4g}: the posterior of such data was not learned.",
                stacklevel=4,
            )

    def _sample(self, n, rows, seed):
        return self.flow.sample(n, rows, seed=seed)

    def _log_prob(self, theta, rows):
        return self.flow.log_prob(theta, rows)

    def events(self, theta: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (events, context) of pairs, as the flow takes them."""
        return theta, x

    def proposals(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return `n` draws of the prior where the posterior of the observation is, but for 1e-4 of its mass.

        Raises ValueError if the prior hardly ever draws there.
        """
        drawn = self.sample(_DRAWS, seed=int(rng.integers(2**31)))
        least = np.quantile(self.log_prob(drawn), _MASS)
        kept, tried, count = [], 0, 0
        while count < n:
            if tried >= _TRIES * n:
                raise ValueError(
                    f"posterior: {count:,} of {tried:,} draws of the prior are where the posterior of the observation "
                    f"is, expected {n:,} of them. Take fewer rounds, or a narrower prior."
                )
            theta = self.prior.draw(max(_DRAWS, n), rng)
            theta = theta[self.log_prob(theta) >= least]
            kept.append(theta)
            tried, count = tried + max(_DRAWS, n), count + len(theta)
        return np.concatenate(kept)[:n]
