"""Variational inference: importance weights that show if a flow represents a density well enough to be used."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from scipy import stats
from scipy.special import logsumexp

from flowkit.contract import Context
from flowkit.contract.arguments import whole_number
from flowkit.contract.shapes import tiled
from flowkit.diagnostics.finding import BLUE, plot
from flowkit.distributions import StudentT
from flowkit.flow.flow import Flow
from flowkit.flow.inputs import check_context, outside
from flowkit.flow.rows import count, in_batches
from flowkit.flow.sampling import proposals
from flowkit.flow.weighted import effective

_FEWEST = 100  # draws: a tail of fewer has no shape
_PRIOR = 10  # draws that the prior of k-hat, 0.5, counts as


@dataclass(frozen=True, repr=False)
class InferenceReport:
    """Importance weights w = p(x) / q(x) of draws of a flow q, and what they say about it. Made by `inference_report`.

    - `sentence`: the result in words; `trusted`: True if means under the weights are reliable.
    - `samples`: the draws, (n, *event); `log_weights`: log w, (n,).
    - `weights`: the Pareto-smoothed weights, which add up to 1: sum(weights * f(samples)) estimates the mean of f.
    - `effective_sample_size`: 1 / sum(weights^2), the number of draws of p that are worth as much.
    - `k_hat`: the shape of the tail of w. Above 0.5 the variance of w is infinite, and errors of means are larger than
      the scatter of the draws shows.
    - `log_normaliser`, `standard_error`: the estimate of log Z = log of the integral of p, and its standard error. The
      error counts weights that the fitted tail expects beside those of the draws, and log(1 - missed). It is infinite,
      which states none, if the weights are not trusted.
    - `elbo`: the mean of log w, a lower bound of log Z.
    - `missed`: the share of p that walks in p from the weighted draws found where w is larger than all weights: a lower
      bound of what the draws miss. 0 without a walk, see `inference_report`.
    - `wide_base`: True if the base of the flow is a `StudentT`.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Shift
    >>> flow = Flow(Shift())
    >>> flow.build((None, 1))
    >>> found = inference_report(flow, lambda x: -0.5 * ops.sum(x**2, axis=-1) / 1.2, draws=1000)
    >>> found.trusted, abs(found.log_normaliser - 0.5 * math.log(2.4 * math.pi)) < 4 * found.standard_error
    (True, True)
    >>> found.resample(5).shape
    (5, 1)
    """

    samples: np.ndarray = field(compare=False)
    log_weights: np.ndarray = field(compare=False)
    weights: np.ndarray = field(compare=False)
    effective_sample_size: float
    k_hat: float
    log_normaliser: float
    standard_error: float
    elbo: float
    trusted: bool
    missed: float = 0.0
    wide_base: bool = False

    @property
    def sentence(self) -> str:
        """The result in words."""
        n = len(self.weights)
        if self.trusted and self.k_hat < min(0.5, reliable(n)):
            verdict = f"Trust these weights: k-hat {self.k_hat:.2f} is below 0.5."
        elif self.trusted:
            verdict = (
                f"Trust means of these weights, but not their errors: k-hat {self.k_hat:.2f} is above 0.5, so the "
                "variance of the weights is infinite, and errors that follow from their scatter are too small. That of "
                "log Z follows from the fitted tail."
            )
        elif self.k_hat < reliable(n):
            verdict = (
                f"Do not trust these weights: walks from them found {self.missed:.1%} of the density where hardly any "
                "draw comes, and may have left out more, so log Z has no error. Train longer, from a wider start, or "
                "with a larger flow, and compare log Z of several seeds: what draws miss lowers it."
            )
        else:
            wider = "" if self.wide_base else ", or wider tails, base=StudentT(8)"
            verdict = (
                f"Do not trust these weights: k-hat {self.k_hat:.2f} is not below {reliable(n):.2f}, so a few draws "
                f"can change every estimate, and log Z has no error. Train longer, or use a larger flow{wider}."
            )
        error = f" +- {self.standard_error:.4f}" if math.isfinite(self.standard_error) else ""
        return (
            f"{verdict} {n:,} draws are worth {self.effective_sample_size:,.0f} draws of the density; "
            f"log Z = {self.log_normaliser:.4f}{error}, ELBO {self.elbo:.4f}. "
            "Weights do not show modes that no draw reaches."
        )

    def resample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Return `n` samples drawn by their weights, (n, *event): approximate draws of the density itself."""
        chosen = np.random.default_rng(seed).choice(
            len(self.weights), whole_number(n, "n", least=0), p=self.weights
        )
        return self.samples[chosen]

    def plot(self) -> Any:
        """Return a matplotlib figure: the weights in descending order, beside equal weights."""
        figure, axes = plot("draws, by weight", "weight, in units of the mean")
        axes.loglog(
            np.arange(1, len(self.weights) + 1), len(self.weights) * np.sort(self.weights)[::-1], color=BLUE
        )
        axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
        axes.set_title(f"k-hat {self.k_hat:.2f}")
        return figure

    def __repr__(self):
        return f"InferenceReport({self.sentence})"


def inference_report(
    flow: Flow,
    log_density: Callable[..., Any],
    context: Context = None,
    *,
    draws: int = 10_000,
    batch_size: int | None = None,
    seed: int = 0,
) -> InferenceReport:
    """Weigh draws of a flow by a density p that is known up to a constant, and report if the result can be trusted.

    - `log_density`: as for `flowkit.objectives.ReverseKL`, (batch, *event) to (batch,); with a `context`,
      `log_density(x, context)`.
    - `context`: one row, for a conditional flow: the report is about the density given that row.
    - `draws`: at least 100. The same `seed` gives the same draws.

    The weights are smoothed by a generalised Pareto distribution fitted to the largest min(n/5, 3 sqrt(n)) of n, and
    trusted if its shape k-hat is below min(1 - 1/log10(n), 0.7) (Vehtari, Simpson, Gelman, Yao & Gabry, Pareto Smoothed
    Importance Sampling, 2024), and walks in p from the weighted draws find no mass above the largest weight: at most
    three standard errors of the walks, and no more than the error of the weights. The walks evaluate log_density twice
    as often as there are draws. There are none for flows on circles or the simplex, and for those whose log_prob is a
    bound or that have no forward direction.

    Raises ValueError for a log_density of another shape, one that is NaN, +infinity, or -infinity for all draws, a flow
    with `dequantize`, one whose log_prob is an estimate, and a context of several rows; ContractError for a flow that
    is not built or adapted, and a missing context.

    >>> import flowkit
    >>> flow = flowkit.zoo.nsf(features=2, layers=2, hidden=[8]).adapt()
    >>> flowkit.inference_report(flow, lambda x: -0.1 * ops.sum(x**2, axis=-1), draws=500).trusted
    False
    """
    draws = whole_number(draws, "inference_report's draws", least=_FEWEST)
    if flow.dequantize is not None or "estimate" in flow.bijector.spec.likelihood:
        received = "with dequantize" if flow.dequantize is not None else "whose log_prob is an estimate"
        raise ValueError(
            f"inference_report: got a flow {received}, expected one with a density of continuous data that is exact or "
            "a bound, since the mean of other weights is not Z. Continuous flows have trace='exact'."
        )
    context = check_context(flow, context)
    if context is not None and count(context) != 1:
        raise ValueError(
            f"inference_report: got a context of {count(context)} rows, expected 1. Call it for each row: "
            "context[i : i + 1]."
        )
    samples, log_q = proposals(flow, draws, context, seed, batch_size)
    log_p = _log_density_of(flow, log_density, samples, context, batch_size)
    log_weights = log_p - log_q.astype("float64")
    missed, error = _missed(flow, log_density, context, samples, log_weights, seed, batch_size)
    return report_of_weights(samples, log_weights, missed, error, wide_base=isinstance(flow.base, StudentT))


def report_of_weights(
    samples: np.ndarray, log_weights: np.ndarray, missed: float, error: float, *, wide_base: bool = False
) -> InferenceReport:
    """Return the report of draws (n, *event), n >= 100, with log p / q (n,), and `missed_mass` with its error.

    >>> draws = np.random.default_rng(0).normal(size=(200, 1))
    >>> round(report_of_weights(draws, np.zeros(200), 0.0, 0.0).effective_sample_size)
    200
    """
    draws = len(log_weights)
    smooth, k_hat = pareto_smoothed(log_weights)
    log_total = logsumexp(smooth)
    weights = np.exp(smooth - log_total)
    of_weights = relative_error(log_weights)
    # Walks find only a part of what is missed: one walker in such a part, and the error of log Z is unknown, unless
    # that of the weights is larger.
    trusted = bool(k_hat < reliable(draws) and missed <= min(3 * error, max(of_weights, error / 2)))
    return InferenceReport(
        samples=samples,
        log_weights=log_weights,
        weights=weights,
        effective_sample_size=effective(weights),
        k_hat=k_hat,
        log_normaliser=float(log_total - math.log(draws)),
        standard_error=math.hypot(of_weights, math.log1p(-missed)) if trusted else math.inf,
        elbo=float(log_weights.mean()),
        trusted=trusted,
        missed=missed,
        wide_base=wide_base,
    )


def _missed(flow, log_density, context, samples, log_weights, seed, batch_size):
    """Return `missed_mass` of a flow, and its error; zeros for a flow in whose domain or density there is no walk."""
    spec = flow.bijector.spec
    if flow.exact != "exact" or spec.forward == "none" or spec.domain.kind in ("circle", "simplex"):
        return 0.0, 0.0

    def log_p(x):
        out = outside(x, spec.domain).reshape(len(x), -1).any(axis=1)
        inside = x.copy()
        inside[out] = samples[0]
        return np.where(out, -np.inf, _evaluated(flow, log_density, inside, context, batch_size))

    def log_q(x):
        return flow.log_prob(x, tiled(context, len(x)), batch_size=batch_size)

    return missed_mass(samples, log_weights, log_p, log_q, seed)


def _evaluated(flow, log_density, samples, context, batch_size):
    """Return log p of the samples as float64, (n,). Raise ValueError for another shape."""

    def evaluate(start, stop, x):
        given = () if context is None else (tiled(context, len(x)),)
        log_p = ops.convert_to_numpy(log_density(ops.convert_to_tensor(x), *given))
        if log_p.shape != (len(x),):
            raise ValueError(
                f"log_density: got shape {log_p.shape}, expected {(len(x),)}: one number for each row."
            )
        return log_p

    return in_batches(flow, evaluate, samples, batch_size).astype("float64")


def _log_density_of(flow, log_density, samples, context, batch_size):
    """Return log p of the samples as float64, (n,). Raise ValueError for numbers that give no weights."""
    log_p = _evaluated(flow, log_density, samples, context, batch_size)
    wrong = np.isnan(log_p) | (log_p == np.inf)
    if wrong.any():
        first = np.flatnonzero(wrong)[0]
        raise ValueError(
            f"log_density: got {log_p[first]} for {int(wrong.sum())} of {len(log_p)} draws, the first "
            f"{samples[first].tolist()}, expected finite numbers or -infinity. Check it at that point."
        )
    if np.isneginf(log_p).all():
        raise ValueError(
            f"log_density: got -infinity for all {len(log_p)} draws, expected a density above 0 for some. Train the "
            "flow on this density, and check that both have the same units."
        )
    return log_p


# Mass of a density that no draw of a flow came near, found by walks from the weighted draws

WALKERS, SHARE, STEPS = 100, 20, 40
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
    count, weights = max(WALKERS, len(samples) // SHARE), np.exp(log_weights - logsumexp(log_weights))
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


# Pareto-smoothed importance sampling


def reliable(draws: int) -> float:
    """Return the k-hat below which weights of so many draws have a reliable mean.

    >>> round(reliable(1000), 2), reliable(100_000)
    (0.67, 0.7)
    """
    return min(1 - 1 / math.log10(draws), 0.7)


class Tail(NamedTuple):
    """The largest weights: generalised Pareto numbers above `cut`. Weights are divided by the largest of all."""

    places: np.ndarray
    cut: float
    shape: float
    scale: float


def pareto_smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return (the smoothed log weights, k-hat), for log weights (n,) with n >= 100.

    The largest weights are replaced by the expected order statistics of a generalised Pareto distribution, at most the
    largest of them. k-hat is -infinity if they are all the same.

    >>> pareto_smoothed(np.zeros(100))[1]
    -inf
    """
    tail = _tail_of(log_weights)
    if tail is None:
        return log_weights, -math.inf
    count = len(tail.places)
    below = (np.arange(count) + 0.5) / count  # the share of the tail below each order statistic
    expected = stats.genpareto.ppf(below, tail.shape, scale=tail.scale)
    smooth = log_weights.copy()
    smooth[tail.places] = np.minimum(np.log(tail.cut + expected), 0.0) + log_weights.max()
    return smooth, tail.shape


def relative_error(log_weights: np.ndarray) -> float:
    """Return the standard error of the mean weight, as a part of it: that of log Z.

    A weight is its part up to the cut, and an excess. The draws show the error of the first, and of how many have an
    excess. That of the mean excess, scale / (1 - k), follows from the variances of the fitted k and scale (Smith,
    Estimating Tails of Probability Distributions, 1987). So it also holds for 0.5 < k < 1, where few draws show how
    large the weights can become; from k = 1 up the mean, and the error, are infinite.

    >>> relative_error(np.zeros(100))
    0.0
    """
    weights, tail = np.exp(log_weights - log_weights.max()), _tail_of(log_weights)
    of_excess = 0.0
    if tail is not None:
        if tail.shape >= 1:
            return math.inf
        k, count = max(tail.shape, -0.5), len(tail.places)  # the variances hold from -0.5 up
        excess = tail.scale / (1 - tail.shape)
        weights[tail.places] = tail.cut + excess
        of_excess = count / len(weights) * excess * math.sqrt((1 + k) * (1 - k + 2 * k * k) / count) / (1 - k)
    of_others = weights.std(ddof=1) / math.sqrt(len(weights))
    return float(math.hypot(of_others, of_excess) / weights.mean())


def _tail_of(log_weights):
    """Return the `Tail` of log weights (n,), in ascending order; None if many of the largest are equal."""
    n = len(log_weights)
    largest = log_weights.max()
    order = np.argsort(log_weights, kind="stable")
    places = order[-math.ceil(min(n / 5, 3 * math.sqrt(n))) :]
    cut = math.exp(log_weights[order[-len(places) - 1]] - largest)
    above = np.exp(log_weights[places] - largest) - cut
    if above[len(places) // 4] <= 0:
        return None
    return Tail(places, cut, *_fit_pareto(above))


def _fit_pareto(x):
    """Return (shape k, scale) of a generalised Pareto distribution of sorted numbers x > 0.

    1 - F(x) = (1 + k x / scale)^(-1/k). The posterior mean of -k / scale on a grid (Zhang & Stephens, A New and
    Efficient Estimation Method for the Generalized Pareto Distribution, 2009); k is then pulled towards 0.5, as if by
    10 more numbers.
    """
    n = len(x)
    points = 30 + int(math.sqrt(n))
    grid = np.arange(1, points + 1) - 0.5
    theta = 1 / x[-1] + (1 - np.sqrt(points / grid)) / (3 * x[int(n / 4 + 0.5) - 1])
    shapes = np.log1p(-theta[:, None] * x).mean(axis=1)
    log_likelihood = n * (np.log(-theta / shapes) - shapes - 1)
    theta = np.average(theta, weights=np.exp(log_likelihood - log_likelihood.max()))
    k = np.log1p(-theta * x).mean()
    return float((n * k + 0.5 * _PRIOR) / (n + _PRIOR)), float(-k / theta)
