"""Normality: tests of the latents of data against the base density, entry by entry and by their length."""

from types import MethodType

import numpy as np
from scipy import stats

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, checked
from flowkit.contract.noise import given
from flowkit.diagnostics.finding import BLUE, GREY, ORANGE, Finding, histograms, holm
from flowkit.distributions import Normal
from flowkit.flow import Flow, prepare, sampling, scoring
from flowkit.training.pictures import new_figure

_LINES = 40  # of a QQ plot


@checked
def normality(
    flow: Flow,
    x: Tensor,
    context: Context = None,
    *,
    level: Between0And1 = 0.01,
    batch_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """Test the latents z = f(x) by Kolmogorov-Smirnov: each of the D entries, and their length.

    For a standard normal base z_i is compared with N(0, 1) and |z|^2 with chi^2 of D degrees of freedom: the distance
    is max |F_n - F|. For another base both are compared with as many draws from it. The D + 1 p-values are
    adjusted by Holm's method, so that a right flow fails with a chance of at most `level`. With enough rows every
    learned flow fails: look at the distances, which do not grow with the number of rows.

    Whole values are dequantised by noise that follows from `seed`, as in `log_prob`. Latents that depend on each
    other may pass. Raises ValueError for a level that is not between 0 and 1.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> flow.build((None, 2))
    >>> normality(flow, x).passed, normality(flow, 1.5 * x).passed
    (True, False)
    """
    z = latents(flow, x, context, batch_size=batch_size, seed=seed)
    base, expected = flow.base, None
    if type(base) is not Normal or base.learn or base.conditioner is not None:
        drawn = sampling.latents(flow, len(z), prepare.seen_context(flow, context, batch_size), 1.0, seed)
        expected = np.asarray(drawn, "float64").reshape(len(z), -1)
    distances, p = zip(*_tests(z, expected), strict=True)
    p = holm(p)
    distances, rejected = np.asarray(distances), int((p[:-1] < level).sum())
    worst = int(np.argmax(distances[:-1]))
    against = "N(0, 1)" if expected is None else "draws of the base"
    return Finding(
        "normality",
        f"{rejected} of {z.shape[1]} latents differ from {against} at level {level:g} (Holm over {len(p)} tests), "
        f"by at most {distances[worst]:.3f}; their length by {distances[-1]:.3f}, p = {p[-1]:.2g}.",
        {
            "rows": len(z),
            "latents": z.shape[1],
            "level": level,
            "correction": "Holm",
            "rejected": rejected,
            "worst_latent": worst,
            "largest_distance": float(distances[worst]),
            "smallest_p": float(p[:-1].min()),
            "length_distance": float(distances[-1]),
            "length_p": float(p[-1]),
            "mean_square": float(np.mean(z**2)),
        },
        bool((p >= level).all()),
        lambda: _draw(z, expected),
    )


def latents(
    flow: Flow, x: Tensor, context: Context = None, *, batch_size: int | None = None, seed: int = 0
) -> np.ndarray:
    """Return the latents of dequantised data, float64 (n, D), as `log_prob` scores them with the same seed."""
    forward = MethodType(_forward, flow)  # equal each time, so that it is compiled once
    with flow.lock:
        z = scoring.scored(flow, forward, *prepare.seen(flow, x, context, batch_size), batch_size, seed)
    return np.nan_to_num(z.reshape(len(z), -1).astype("float64"), nan=np.inf, posinf=np.inf, neginf=-np.inf)


def _forward(flow, y, context, noise=None):
    return flow.bijector(y, context=context, **given(noise))[0]


def _tests(z, expected):
    """Return (distance, p-value) of each entry, then of the length."""
    if expected is None:
        found = [stats.kstest(column, "norm") for column in z.T]
        found.append(stats.kstest(_squares(z), stats.chi2(z.shape[1]).cdf))
    else:
        pairs = [*zip(z.T, expected.T, strict=True), (_squares(z), _squares(expected))]
        found = [stats.ks_2samp(*pair) for pair in pairs]
    return [(one.statistic, one.pvalue) for one in found]


def _squares(z):
    return (z**2).sum(axis=1)


def _draw(z, expected):
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2)
    count = min(200, len(z))
    levels = (np.arange(count) + 0.5) / count
    size = z.shape[1]
    for column in np.unique(np.linspace(0, size - 1, min(_LINES, size)).astype(int)):
        there = stats.norm.ppf(levels) if expected is None else np.quantile(expected[:, column], levels)
        left.plot(there, np.quantile(z[:, column], levels), color=BLUE, linewidth=0.8, alpha=0.5)
    ends = left.get_xlim()
    left.plot(ends, ends, color="black", linewidth=0.8, linestyle="--")
    left.set(xlabel="quantiles of the base density", ylabel="quantiles of the latents of data")
    squares = _squares(z)
    squares = squares[np.isfinite(squares)]
    high = np.quantile(squares, 0.995) if len(squares) else 1.0
    bins = np.linspace(min(squares.min(initial=high), 0.9 * high), high, 41)
    if expected is None:
        places = np.linspace(bins[0], bins[-1], 200)
        right.plot(places, stats.chi2(size).pdf(places), color=ORANGE, label=f"chi-squared, {size} degrees")
        histograms(right, bins, ("data", squares))
    else:
        histograms(right, bins, ("data", squares), ("draws of the base", _squares(expected)))
    right.set(xlabel="squared length of the latents", ylabel="density")
    for axes in (left, right):
        axes.grid(alpha=0.3, color=GREY)
    return figure
