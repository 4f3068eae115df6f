"""Neural likelihood estimation: a posterior that a flow of the data, given parameters, makes of the prior.

It is drawn from by tempering: from the prior to the posterior in steps, with moves in between.
"""

from typing import Any

import numpy as np

from flowkit.flow.tempering import tempered
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

        return tempered(self.prior.draw(size, rng), self.prior.log_prob, log_likelihood, rng).draws

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
