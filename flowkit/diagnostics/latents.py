"""Latents of data: if they follow the base density, the bits of each level, and the error of data that come back."""

import math

import numpy as np
from scipy import stats

from flowkit.bijectors.levels import level_sizes
from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, checked
from flowkit.diagnostics.finding import BLUE, GREY, ORANGE, Finding, histograms, holm, plot
from flowkit.distributions import Normal
from flowkit.evaluation import level_bits
from flowkit.flow import Flow, inputs, sampling
from flowkit.flow.round_trip import TOLERANCE
from flowkit.flow.rows import run_rows
from flowkit.training.pictures import new_figure

_LINES = 40  # of a QQ plot
_PERCENTILES = (50, 90, 99, 100)  # of the errors of a round trip


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
    with flow.lock:
        seen = inputs.checked_and_embedded(flow, x, context, batch_size)
        z = run_rows(flow, flow._to_latents, *seen, stored="noise", batch_size=batch_size, seed=seed)
    z = np.nan_to_num(z.reshape(len(z), -1).astype("float64"), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    base, expected = flow.base, None
    if type(base) is not Normal or base.learn or base.conditioner is not None:
        drawn = sampling.latents(flow, len(z), inputs.embedded_context(flow, context, batch_size), 1.0, seed)
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
        lambda: _draw_normality(z, expected),
    )


def _tests(z, expected):
    """Return (distance, p-value) of each entry, then of the length."""
    if expected is None:
        others = [*["norm"] * z.shape[1], stats.chi2(z.shape[1]).cdf]
    else:
        others = [*expected.T, _squares(expected)]
    found = [stats.kstest(*pair) for pair in zip([*z.T, _squares(z)], others, strict=True)]
    return [(one.statistic, one.pvalue) for one in found]


def _squares(z):
    return (z**2).sum(axis=1)


def _draw_normality(z, expected):
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


def level_shares(
    flow: Flow, x: Tensor, context: Context = None, *, batch_size: int | None = None, seed: int = 0
) -> Finding:
    """Divide the bits per dimension among the levels: `flowkit.evaluation.level_bits`, in the mean over `x`.

    Raises ValueError for a flow without levels.

    >>> from flowkit import zoo
    >>> images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype="uint8")
    >>> flow = zoo.glow(levels=2, steps=1, width=4).adapt(images)
    >>> level_shares(flow, images).numbers["latents"]
    [8, 8]
    """
    bits = level_bits(flow, x, context, batch_size=batch_size, seed=seed).astype("float64")
    mean = bits.mean(axis=0)
    error = bits.std(axis=0, ddof=1) / math.sqrt(len(bits)) if len(bits) > 1 else np.full(len(mean), math.nan)
    sizes = level_sizes(flow.bijector, "level_shares")
    shares = ", ".join(
        f"level {i} {b:.3f} ({b / mean.sum():.0%} of them in {s / sum(sizes):.0%} of the latents)"
        for i, (b, s) in enumerate(zip(mean, sizes, strict=True))
    )
    return Finding(
        "levels",
        f"Of {mean.sum():.3f} bits per dimension: {shares}.",
        {
            "rows": len(bits),
            "bits_per_dim": mean.tolist(),
            "standard_error": error.tolist(),
            "latents": sizes,
        },
        None,
        lambda: _draw_levels(mean, error, sizes),
    )


def _draw_levels(mean, error, sizes):
    figure, axes = plot("level", "bits per dimension of the data")
    places = np.arange(len(mean))
    axes.bar(places, mean, yerr=error, color=BLUE, label="carried")
    share = mean.sum() * np.asarray(sizes) / sum(sizes)
    axes.scatter(places, share, marker="_", s=900, color=GREY, label="if each latent carried as much")
    axes.set_xticks(places)
    axes.legend(fontsize=8, markerscale=0.3)
    return figure


def round_trip(flow: Flow, x: Tensor, context: Context = None, *, batch_size: int | None = None) -> Finding:
    """Report percentiles of `flow.round_trip_error(x)`; it passes if the largest is at most 1e-3 of a row's size.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(1.0))
    >>> flow.build((None, 2))
    >>> round_trip(flow, np.ones((4, 2))).passed
    True
    """
    error = np.sort(flow.round_trip_error(x, context, batch_size=batch_size).astype("float64"))
    # "higher" is an error that was seen, also if others are infinite.
    found = {f"{p}%": float(np.percentile(error, p, method="higher")) for p in _PERCENTILES}
    shown = ", ".join(f"{value:.1g} at {name}" for name, value in found.items())
    return Finding(
        "round_trip",
        f"f^-1(f(x)) is off by {shown} of rows, as a part of their size; {TOLERANCE:g} passes.",
        {"rows": len(error), "tolerance": TOLERANCE, "percentiles": found},
        bool(error[-1] <= TOLERANCE),
        lambda: _draw_errors(error),
    )


def _draw_errors(error):
    figure, axes = plot("percentile of rows", "error, as a part of the row's size")
    floor = np.finfo("float32").tiny
    axes.plot(100 * (np.arange(len(error)) + 0.5) / len(error), np.maximum(error, floor), color=BLUE)
    axes.axhline(TOLERANCE, color="black", linewidth=0.8, linestyle="--", label="passes below")
    if error.max() > 0:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(error[error > 0].min() / 2, 1e-12))
    axes.legend(fontsize=8)
    return figure
