"""A posterior that is a flow of the parameters, given data: neural posterior estimation."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from flowkit.contract.arguments import Seed, checked, whole, whole_number
from flowkit.data.frame import is_frame
from flowkit.diagnostics import InferenceReport, Report, inference_report, report
from flowkit.flow.flow import Flow
from flowkit.flow.inputs import embedded_context
from flowkit.plots import pair_plot
from flowkit.posteriors import saving
from flowkit.posteriors.misspecification import p_values
from flowkit.posteriors.observations import Observations
from flowkit.posteriors.prior import Prior, as_float32, flow_draws
from flowkit.posteriors.simulations import Simulator, finite_pairs, simulated

_MASS = 1e-4  # of a posterior that a truncated prior may leave out
_DRAWS = 10_000  # to find the density that the rest of it exceeds
_REFERENCE, _HELD = 5_000, 2_000  # simulations that an observation is compared with, at most
_NOISES = 16  # draws of the noise between whole numbers, in each log-density
_TRIES = 2_000  # draws of the prior for each one that is kept


class Posterior:
    """p(parameters | data), learned as a flow of the parameters: what `flowkit.posterior` returns.

    - `flow`: the `flowkit.Flow` itself, conditional on data, or on `data.context(data)` with masks of what is missing.
    - `theta`, `x`: the pairs that it was trained on; `held`: the places of those held out among them, or None.
    - `observation`: the data that `sample`, `log_prob` and `plot` take if they receive none. After several `rounds` the
      posterior is that of this observation only.
    - `names`: of the parameters, or None; `data`: the shape of the data; `report`: what `check` last returned, or None.

    Data are (*event), one observation, or (b, *event), several. After training with `sizes` an observation is a set of
    n rows, (n, k), or (n,) for k = 1; several are (b, n, k) or a list of arrays.

    >>> import flowkit
    >>> rng = np.random.default_rng(0)
    >>> def simulator(theta):
    ...     return theta + 0.1 * rng.normal(size=theta.shape)
    >>> posterior = flowkit.posterior(simulator, [(0, 1), (0, 2)], simulations=200, epochs=2, layers=2, verbose=0)
    >>> posterior.sample(5, np.array([0.5, 0.5])).shape, posterior.sample(5, np.ones((3, 2))).shape
    ((5, 2), (5, 3, 2))
    """

    method = "npe"

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
        data: Observations | None = None,
        held: np.ndarray | None = None,
    ) -> None:
        self.flow, self.prior, self.theta, self.x, self.simulator = flow, prior, theta, x, simulator
        self.observation, self.rounds, self.held = observation, rounds, held
        self.data = Observations(x.shape[1:]) if data is None else data
        self.report: Report | None = None
        axes, gone = (0,) if self.data.sizes is None else (0, 1), np.isnan(x)
        self._low = np.where(gone, np.inf, x).min(axis=axes)
        self._high = np.where(gone, -np.inf, x).max(axis=axes)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.prior.features} parameters given data of shape {self.x.shape[1:]}, from "
            f"{len(self.theta):,} simulations)"
        )

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the parameters, or None."""
        return self.prior.names

    def sample(
        self, n: int, x: ArrayLike | None = None, *, seed: int | None = None, names: bool = False
    ) -> np.ndarray:
        """Return `n` draws of the parameters, (n, features); for b observations (n, b, features).

        With `names` a structured array, (n,) or (n, b), with a field of each name: `draws["mass"]`, and
        `pandas.DataFrame(draws)` for one observation. Whole numbers are integers there, and categories their words.
        Raises ValueError for parameters without names.

        The same seed draws the same on all backends, but for rounding, if the base of the flow is standard normal.
        """
        if names and self.names is None:
            raise ValueError(
                "sample: got names=True for parameters without names, expected names. Pass names= to posterior, or a "
                "prior {name: ...}."
            )
        rows, one = self._observed(x)
        drawn = self._sample(whole_number(n, "sample's n", least=0), rows, seed)
        drawn = drawn[:, 0] if one else drawn
        if not names:
            return drawn
        return self._structured(drawn)

    def log_prob(self, theta: ArrayLike, x: ArrayLike | None = None) -> np.ndarray:
        """Return log p(theta | x) in nats, (n,): of rows of parameters, given one observation or a row for each.

        Outside of the prior's bounds it is -inf. A frame, a structured array or a dict with the names of the parameters
        may have them in any order. Of parameters with whole numbers or categories it is a lower bound, whose gap
        training makes small: the log of the mean over 16 draws of the noise that fills the gaps between numbers.
        """
        rows, one = self._observed(x)
        theta = self._parameters(theta, len(rows), one)
        answer = np.full(len(theta), -np.inf, "float32")
        possible = self.prior.inside(theta)
        if possible.any():
            rows = np.repeat(rows, possible.sum(), axis=0) if one else rows[possible]
            answer[possible] = self._log_prob(theta[possible], rows)
        return answer

    def _parameters(self, theta, observations, one):
        """Return parameters as rows in float32, by their names if they have any.

        Raises ValueError for NaN, and unless there is a row for each of the observations, of which `one` takes any.
        """
        names = self.names or ()
        fields = _names_in(theta)
        if fields is not None:
            if {*fields} != {*names}:
                raise ValueError(
                    f"posterior: got parameters named {list(fields)}, expected {list(names) or 'plain rows'}."
                )
            columns = (np.atleast_1d(np.asarray(theta[name])) for name in names)
            numbers = [self._numbers(values, place) for place, values in enumerate(columns)]
            theta = np.stack(numbers, axis=-1)
        theta = as_float32(theta, "parameters")
        if (
            theta.ndim != 2
            or theta.shape[1] != self.prior.features
            or not (one or observations == len(theta))
        ):
            raise ValueError(
                f"posterior: got parameters of shape {theta.shape} and {observations} observations, expected "
                f"(n, {self.prior.features}) and n observations, or one for log_prob."
            )
        if np.isnan(theta).any():
            raise ValueError(
                f"parameters: got NaN in row {np.argwhere(np.isnan(theta))[0, 0]}, expected numbers."
            )
        return theta

    def _structured(self, drawn):
        """Return draws with a field of each name, of words for a category and of integers for whole numbers."""
        columns = []
        for place in range(self.prior.features):
            values = drawn[..., place]
            if place in self.prior.words:
                values = np.array(self.prior.words[place])[values.astype(int)]
            elif place in self.prior.whole:
                values = values.astype(int)
            columns.append(values)
        fields = [(name, values.dtype) for name, values in zip(self.names or (), columns, strict=True)]
        found = np.empty(drawn.shape[:-1], fields)
        for (name, _), values in zip(fields, columns, strict=True):
            found[name] = values
        return found

    def _numbers(self, values, place):
        """Return one field of a structured array as numbers, -1 for a word that is no category."""
        words = self.prior.words.get(place)
        if words is None or values.dtype.kind not in "UO":
            return values
        return np.array([words.index(word) if word in words else -1 for word in values.tolist()])

    def plot(
        self, x: ArrayLike | None = None, *, true: ArrayLike | None = None, samples: int = 1000, seed: int = 0
    ) -> Any:
        """Return a matplotlib figure of pairs of parameters: the prior, and the posterior of one observation.

        `true`: parameters to mark, in their order or by their names. Shows the first 6 parameters.
        """
        drawn = self.sample(samples, x, seed=seed)
        if drawn.ndim != 2:
            raise ValueError(f"plot: got {drawn.shape[1]} observations, expected one.")
        features = self.prior.features
        before = self.prior.draw(samples, np.random.default_rng(seed))
        names = self.names or [f"parameter {i}" for i in range(features)]
        if true is not None:
            rows = np.atleast_2d(true) if _names_in(true) is None else true
            true = self._parameters(rows, 1, one=False)[0]
        return pair_plot(before, drawn, list(names), labels=("prior", "posterior"), mark=true)

    @checked
    def check(
        self,
        theta: ArrayLike | None = None,
        x: ArrayLike | None = None,
        *,
        pairs: Annotated[int, whole(2)] = 500,
        draws: Annotated[int, whole(2)] = 99,
        seed: Seed = 0,
    ) -> Report:
        """Return the diagnostics of the flow on pairs that it was not trained on: `flowkit.diagnostics.report`.

        `theta`, `x`: new pairs from the prior; without them `pairs` are simulated. Calibration, coverage, TARP and
        recovery among them: are the posteriors of these data right, and what do the data say about each parameter?
        Simulated data sets have random sizes, if `sizes` does. The report is kept as `report`.

        Raises ValueError after several rounds, since the posterior of other observations was not learned.
        """
        self._refuse_rounds("check")
        if theta is None:
            if x is not None:
                raise ValueError("check: got x alone, expected pairs. Pass check(theta, x), or neither.")
            if self.simulator is None:
                raise ValueError("check: got no pairs and no simulator. Pass new pairs, check(theta, x).")
            theta = self.prior.draw(pairs, np.random.default_rng([seed, 1]))  # others than those of training
            x = simulated(self.simulator, theta, self.data.sizes)
            theta, x = finite_pairs(theta, x, leave_out=True, gaps=self.data.gaps is not None)
            x = self.data.cut(x, seed)
        else:
            if x is None:
                raise ValueError("check: got theta alone, expected pairs. Pass check(theta, x), or neither.")
            x, _ = self.data.rows(x)
            theta = self._parameters(theta, len(x), one=False)
            if len(theta) < 2:
                raise ValueError(f"check: got {len(theta)} pairs, expected at least 2.")
            if not (inside := self.prior.inside(theta)).all():
                row = int(np.argmin(inside))
                raise ValueError(
                    f"check: got {theta[row]} as parameters in row {row}, expected draws of the prior, within its "
                    "bounds."
                )
        found = report(self.flow, *self.events(theta, x), draws=draws, seed=seed)
        for name in ("levels", "memorisation", "outliers"):  # which say nothing about posteriors
            found.left_out.pop(name, None)
        self.report = found
        return found

    def misspecified(self, x: ArrayLike | None = None) -> float | np.ndarray:
        """Return a p-value for "the simulator, with its prior, does not make such data"; for b observations (b,).

        Small ones say that the observation is unlike all simulations, so that its posterior cannot be trusted. If the
        data come from the simulator p is uniform between 0 and 1: below 0.05 once in 20. It is the share of simulations
        held out from training that are as far from those of training as the observation is. Far is the mean distance to
        the 10 nearest, of what the flow's embedding makes of data, or of the data themselves, in coordinates in which
        simulations are uncorrelated. Sets are compared with simulated sets of their size.

        An embedding keeps what tells of parameters: it may miss a fault that leaves the parameters alone. p is at least
        1 / (1 + held), with at most 2,000 held out. Weights of pairs count as in training, as well as resampling can.

        Raises ValueError after several rounds, whose simulations depend on the observation, for a posterior that does
        not know which pairs were held out, and for fewer than 10 of them.

        Schmitt, Buerkner, Koethe & Radev, Detecting Model Misspecification in Amortized Bayesian Inference with Neural
        Networks (2023), who compare embedded data by another distance.

        >>> import flowkit
        >>> rng = np.random.default_rng(0)
        >>> def simulator(theta):
        ...     return theta + 0.1 * rng.normal(size=(len(theta), 5))
        >>> options = {"simulations": 1000, "epochs": 1, "layers": 2, "hidden": [8], "verbose": 0}
        >>> posterior = flowkit.posterior(simulator, [(0, 1)], **options)
        >>> right, wrong = posterior.misspecified([[0.5, 0.4, 0.6, 0.5, 0.5], [0.5, 0.5, 0.0, 0.5, 0.5]])
        >>> bool(right > 0.1), bool(wrong < 0.02)
        (True, True)
        """
        self._refuse_rounds("misspecified")
        if self.held is None:
            raise ValueError(
                "misspecified: got a posterior without held-out pairs, expected one of flowkit.posterior."
            )
        rows, one = self._observed(x)
        others = np.delete(self.x, self.held, axis=0)[:_REFERENCE]
        counts, found = self.data.counts(rows), np.empty(len(rows))
        for count in np.unique(counts):
            parts = (rows[counts == count], others, self.x[self.held[:_HELD]])
            found[counts == count] = p_values(*(self._summaries(self.data.of_size(x, count)) for x in parts))
        return float(found[0]) if one else found

    def _summaries(self, rows):
        """Return what posteriors of data depend on, (b, k)."""
        return embedded_context(self.flow, self.data.context(rows)).reshape(len(rows), -1)

    def _refuse_rounds(self, what):
        if self.rounds > 1:
            raise ValueError(
                f"{what}: got a posterior of one observation, after {self.rounds} rounds, expected one of all data. "
                "Train one with rounds=1."
            )

    def refine(
        self,
        x: ArrayLike | None,
        log_likelihood: Callable[[np.ndarray, np.ndarray], ArrayLike],
        *,
        draws: int = 10_000,
        seed: int = 0,
    ) -> InferenceReport:
        """Weigh draws of the posterior of one observation by prior x likelihood, for a likelihood that is known.

        w = p(theta) p(x | theta) / q(theta | x): means under the smoothed weights are those of the exact posterior, and
        the mean of w is the evidence p(x). The `InferenceReport` has the draws, `samples`, `weights` and
        `effective_sample_size`; `k_hat` and `trusted` say if the weights are reliable; `log_normaliser` is log p(x)
        with a `standard_error`; `resample(n)` draws from the exact posterior. See `flowkit.inference_report`.

        `log_likelihood(theta, x)` returns log p(x | theta) in nats, (n,), of parameters (n, features) and the
        observation as it was passed, both numpy arrays; -infinity is allowed. Raises ValueError for a prior without a
        density and for several observations, and what `inference_report` raises.

        Dax et al., Neural Importance Sampling for Rapid and Reliable Gravitational-Wave Inference (2023).
        """
        rows, one = self._observed(x)
        if not one and len(rows) != 1:
            raise ValueError(f"refine: got {len(rows)} observations, expected one. Call it for each.")
        seen = np.asarray(self.observation if x is None else x)

        def log_density(theta, context):
            theta = ops.convert_to_numpy(theta)
            log_p = self.prior.log_prob(theta)
            possible = np.isfinite(log_p)
            if possible.any():
                found = np.asarray(log_likelihood(theta[possible], seen), "float64")
                if found.shape != (int(possible.sum()),):
                    raise ValueError(
                        f"log_likelihood: got shape {found.shape}, expected {(int(possible.sum()),)}: one number for "
                        "each row of theta."
                    )
                log_p[possible] += found
            return log_p

        return inference_report(self.flow, log_density, self.data.context(rows), draws=draws, seed=seed)

    def save(self, path: str | Path) -> None:
        """Write the posterior into one file, which `flowkit.load_posterior` reads on any backend.

        A .keras file of the flow, so that `keras.saving.load_model` reads the flow alone, that holds the prior, names,
        pairs, observation, rounds and the numbers of `report` too. The simulator is not saved. Of a prior that is a
        function, or a distribution that is not of scipy.stats, it holds 10,000 draws. It replaces an older file once it
        is written. Raises ValueError for another suffix, and for a likelihood whose prior no file can hold.
        """
        saving.save(self, path)

    def _observed(self, x):
        """Return observations (b, *event), and if a single one came without a batch axis."""
        x = self.observation if x is None else x
        if x is None:
            raise ValueError("posterior: got no observation. Pass x, or observation= when it is made.")
        rows, one = self.data.rows(x)
        self._warn_of_strange(rows)
        return rows, one

    def _warn_of_strange(self, rows):
        """Warn of observations far outside the simulations, of whose posterior the flow has learned nothing."""
        low, high = (np.broadcast_to(end, self.data.event) for end in (self._low, self._high))
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
        drawn = flow_draws(self.flow, n, np.random.default_rng(seed), self.data.context(rows))
        return drawn.reshape(n, len(rows), -1)

    def _log_prob(self, theta, rows):
        samples = _NOISES if self.prior.whole else 1
        return self.flow.log_prob(theta, self.data.context(rows), samples=samples)

    def events(self, theta: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (events, context) of pairs, as the flow takes them."""
        return theta, self.data.context(x)

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


def _names_in(theta):
    """Return the names that parameters come with, in a frame, a structured array or a dict; None for plain rows."""
    if isinstance(theta, Mapping):
        return list(theta)
    return list(theta.columns) if is_frame(theta) else getattr(getattr(theta, "dtype", None), "names", None)
