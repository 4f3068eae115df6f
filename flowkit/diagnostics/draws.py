"""Draws of a flow, compared with the data: coverage, calibration, TARP and recovery."""

import math
from typing import Annotated, Any

import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked, whole, whole_number
from flowkit.diagnostics.finding import GREY, Finding, band_plot, holm, rank_plot
from flowkit.evaluation import (
    SETS,
    Band,
    chance_band,
    in_pieces,
    rank_band,
    ranks,
    ties_by_chance,
    uniformity,
)
from flowkit.flow import Flow, inputs
from flowkit.training.pictures import new_figure

_CELLS = 100  # levels that are compared


@checked
def coverage(
    flow: Flow,
    x: Tensor,
    context: Context = None,
    *,
    samples: Annotated[int, whole(_CELLS, None)] = 2_000,
    draws: Count = 99,
    level: Between0And1 = 0.99,
    batch_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """Compare C(u), the share of `x` in the region of highest density that holds u of the flow's mass, with u.

    A row lies in the region of u if at most a share u of draws has a higher density: where log p(x) ranks among log p
    of draws decides it, in one dimension or thousands. C(u) = u if the flow is right. It is below if the flow is too
    narrow, or has mass where there are no data; above if it is too wide.

    Without a context, the rows are ranked among the same `samples`; with one, each among `draws` of its own density. A
    right flow stays within the band, everywhere at once, with probability `level`, which counts the
    chance in the samples as well as that in the rows. Rows of equal density are ordered by chance; a density of NaN
    counts as 0.

    It depends on the density alone: mass that a flow moves to another place of the same density passes. Raises
    ValueError for a level that is not between 0 and 1. Hermans et al., A Crisis In Simulation-Based Inference?
    (2022), for expected coverage.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.build((None, 2))
    >>> x = np.random.default_rng(0).normal(size=(1000, 2))
    >>> coverage(flow, x).passed, coverage(flow, 1.2 * x).passed
    (True, False)
    """
    # Another seed than that of the draws' own scores: rows must not share their noise with them.
    found = _without_nan(flow.log_prob(x, context, seed=seed + 1, batch_size=batch_size))
    number = samples if context is None else draws
    how: dict[str, Any] = {"batch_size": batch_size, "check": None}
    if context is None:
        expected = band(len(found), samples, level)
        parts: Any = [flow.sample_and_log_prob(samples, seed=seed, **how)]
    else:
        expected = rank_band(len(found), draws=draws, level=level)
        size = len(found) * math.prod(flow.event_shape)
        parts = in_pieces(flow.sample_and_log_prob, draws, size, context, seed, **how)
    drawn = _without_nan(np.concatenate([log_prob for _, log_prob in parts]).reshape(number, -1))
    ranks = _ranks(found, drawn, seed)
    u, lower, upper = expected
    share = (ranks[:, None] < (u * (number + 1)).round()).mean(axis=0)
    outside = (share < lower - 1e-9) | (share > upper + 1e-9)
    worst = int(np.argmax(np.abs(share - u)))
    passed = not outside.any()
    axes = "mass of the region of highest density", "share of the data in it, less that mass"
    return Finding(
        "coverage",
        f"Regions of highest density that should hold {u[worst]:.0%} of the data hold {share[worst]:.1%}, which is the "
        f"largest difference; {'all are' if passed else f'{outside.mean():.0%} of levels are not'} within the "
        f"{level:.0%} band.{'' if passed else _cure(share[worst] > u[worst])}",
        {
            "rows": len(found),
            "draws": number,
            "level": level,
            "largest_difference": float(share[worst] - u[worst]),
            "at": float(u[worst]),
            "outside_band": float(outside.mean()),
            "expected": u.tolist(),
            "coverage": share.tolist(),
            "lower": lower.tolist(),
            "upper": upper.tolist(),
        },
        passed,
        lambda: band_plot(expected, {"data": share}, f"{level:.0%} band", *axes),
    )


def band(n: int, samples: int, level: float) -> Band:
    """Return (u, lower, upper), where C(u) of n rows ranked among the same `samples` stays for all u at once.

    The mass between order statistics of m samples follows a Dirichlet distribution of ones, so the counts of n rows
    between them are Dirichlet-multinomial, whatever the density is. The band is

        u -+ c sqrt(u (1 - u) (1/n + 1/m)),

    c such that `level` of 2,000 such sets stay within.

    >>> u, lower, upper = band(1000, 2000, 0.99)
    >>> bool((lower <= u).all()), round(float(upper[49] - u[49]), 2)
    (True, 0.08)
    """
    rng = np.random.default_rng(0)
    places = np.linspace(0, samples + 1, _CELLS + 1).round().astype(int)
    mass = rng.dirichlet(np.diff(places), size=SETS)
    counts = rng.multinomial(n, mass)
    u = places[1:] / (samples + 1)
    deviation = np.sqrt(u * (1 - u) * (1 / n + 1 / samples))
    return chance_band(u, deviation, counts, level)


def _cure(wide):
    """Return what to do about a curve that leaves the band."""
    if wide:
        return (
            " Many draws are less likely than any data: the flow is too wide, or puts mass where there are no data. "
            "Train it longer, and compare columns of draws and data: a wrong type or bound of one is enough."
        )
    return (
        " Data are less likely than draws: the flow is too narrow, or has learned its training rows by heart. Train on "
        "more rows, or a smaller flow, and keep the epoch that is best on rows held out."
    )


def _ranks(found, drawn, seed):
    """Count draws of higher density than each row, and equal ones by chance. `drawn` is (m, 1) or (m, n)."""
    return ties_by_chance((drawn > found).sum(axis=0), (drawn == found).sum(axis=0), seed)


def _without_nan(log_prob):
    """Return float64, NaN replaced by the log of no density: sorting would put it last, as the densest of all."""
    log_prob = np.asarray(log_prob, "float64")
    return np.where(np.isnan(log_prob), -np.inf, log_prob)


LEVEL = 0.01
_SHOWN = 10  # entries in the figure of calibration
_MOST = 6  # entries in the figure of recovery


@checked
def calibration(
    flow: Flow,
    x: Tensor,
    context: Context,
    *,
    draws: Count = 99,
    level: Between0And1 = LEVEL,
    batch_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """Test if each entry of x_i ranks evenly among draws from p(x | context_i): `flowkit.evaluation.ranks`.

    An entry's p-value is that of `flowkit.evaluation.uniformity`, and all are adjusted by Holm's method, so that a
    right flow fails with a chance of at most `level`. No p-value is below 1/2001, so with more than 2,000 `level`
    entries none could fail.

    Raises ValueError for a flow that reads no context, and for more entries than that. Talts, Betancourt, Simpson,
    Vehtari & Gelman, Validating Bayesian Inference Algorithms with Simulation-Based Calibration (2018).

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> from flowkit.conditioners import MLP
    >>> from flowkit.distributions import Normal
    >>> flow = Flow(Scale(0.0), base=Normal(conditioner=MLP([8])))  # before training it is N(0, 1) for any context
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> context, x = rng.normal(size=(2, 300, 1))
    >>> flow.build({"x": (None, 1), "context": (None, 1)})
    >>> calibration(flow, x, context).passed, calibration(flow, x + 1, context).passed
    (True, False)
    """
    found = ranks(flow, x, context, draws=draws, seed=seed, batch_size=batch_size)
    found = found.reshape(len(found), -1)
    most = most_entries(level)
    if found.shape[1] > most:
        raise ValueError(
            f"calibration: got {found.shape[1]} entries, expected at most {most} to test at level {level:g}. "
            "flowkit.evaluation.ranks gives the ranks themselves."
        )
    p = holm(uniformity(found, draws=draws))
    rejected = int((p < level).sum())
    shown = {f"entry {entry}": found[:, entry] for entry in range(min(_SHOWN, len(p)))}
    return Finding(
        "calibration",
        f"{rejected} of {len(p)} entries have ranks among {draws} draws that are uneven at level {level:g} (Holm); the "
        f"smallest p is {p.min():.2g}.",
        {
            "rows": len(found),
            "draws": draws,
            "level": level,
            "correction": "Holm",
            "rejected": rejected,
            "p": p.tolist(),
            "mean_rank": (found.mean(axis=0) / draws).tolist(),
        },
        not rejected,
        lambda: rank_plot(shown, draws, level, f"{1 - level:.0%} band of one entry"),
    )


def most_entries(level: float) -> int:
    """Return the most entries that can be tested at a level: with more, the least p-value, 1/2001, is above it."""
    return int(SETS * level)


@checked
def tarp(
    flow: Flow,
    x: Tensor,
    context: Context,
    *,
    draws: Count = 99,
    level: Between0And1 = LEVEL,
    batch_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """Test if x_i is as far from a random point as draws from p(x | context_i) are.

    The rank of |x_i - r_i| among |draw - r_i| is uniform on 0, ..., `draws` if the flow is right, for points r_i that
    do not depend on x_i: here other rows of `x`, and distances in standard deviations. Other than `calibration` it sees
    wrong dependence between entries, other than `coverage` mass in a wrong place of the right density.

    Raises ValueError for fewer than two rows. Lemos, Coogan, Hezaveh & Perreault-Levasseur, Sampling-Based Accuracy
    Testing of Posterior Estimators for General Inference (2023).

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> from flowkit.conditioners import MLP
    >>> from flowkit.distributions import Normal
    >>> flow = Flow(Scale(0.0), base=Normal(conditioner=MLP([8])))  # before training it is N(0, 1) for any context
    >>> rng = np.random.default_rng(0)
    >>> context, x = rng.normal(size=(2, 300, 2))
    >>> flow.build({"x": (None, 2), "context": (None, 2)})
    >>> tarp(flow, x, context).passed, tarp(flow, 2 * x, context).passed
    (True, False)
    """
    x = _rows(flow, x, context, "tarp")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    points = np.empty_like(x)
    points[order] = x[np.roll(order, 1)]
    scale = x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)

    def distances(rows):
        return np.square((rows - points) / scale).sum(axis=tuple(range(rows.ndim - x.ndim + 1, rows.ndim)))

    own = distances(x)
    closer, equal = np.zeros((2, len(x)), "int64")
    for drawn in in_pieces(flow.sample, draws, x.size, context, seed, batch_size=batch_size):
        found = distances(drawn)
        closer, equal = closer + (found < own).sum(axis=0), equal + (found == own).sum(axis=0)
    closer = ties_by_chance(closer, equal, seed)
    p = float(uniformity(closer, draws=draws))
    return Finding(
        "tarp",
        f"The ranks of the distances from random points, among {draws} draws, are "
        f"{'even' if p >= level else 'uneven'}: p is {p:.2g}.",
        {"rows": len(x), "draws": draws, "level": level, "p": p, "mean_rank": float(closer.mean() / draws)},
        p >= level,
        lambda: rank_plot({"distance": closer}, draws, level, f"{1 - level:.0%} band"),
    )


def _rows(flow, x, context, name):
    """Return checked rows of `x`. Raise ValueError for fewer than two."""
    x, _ = inputs.checked_data(flow, x, context)
    if len(x) < 2:
        raise ValueError(f"{name}: got {len(x)} rows, expected at least 2.")
    return x


def recovery(
    flow: Flow, x: Tensor, context: Context, *, draws: int = 99, batch_size: int | None = None, seed: int = 0
) -> Finding:
    """Compare each entry of x_i with the mean and the deviation of draws from p(x | context_i).

    For each entry, `correlation` is that of the means with the truth, and `contraction` is 1 - (mean variance of the
    draws) / (variance of x): 0 if the context says nothing about it, 1 if it fixes it. Nothing is expected of either: a
    right flow contracts as much as the context allows.

    Raises ValueError for fewer than two rows, and for an entry of x that is the same in all. Schad, Betancourt &
    Vasishth, Toward a Principled Bayesian Workflow in Cognitive Science (2021).

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> from flowkit.conditioners import MLP
    >>> from flowkit.distributions import Normal
    >>> flow = Flow(Scale(0.0), base=Normal(conditioner=MLP([8])))  # before training it is N(0, 1) for any context
    >>> context, x = np.random.default_rng(0).normal(size=(2, 300, 1))
    >>> flow.build({"x": (None, 1), "context": (None, 1)})
    >>> abs(recovery(flow, x, context).numbers["contraction"][0]) < 0.2
    True
    """
    draws = whole_number(draws, "draws", least=2)
    x = _rows(flow, x, context, "recovery")
    true = x.reshape(len(x), -1).astype("float64")
    spread = true.var(axis=0)
    if not spread.all():
        constant = np.flatnonzero(spread == 0).tolist()
        raise ValueError(
            f"recovery: got entries {constant} of x without variance, expected some in each. Pass rows that differ."
        )
    total, squares = np.zeros_like(true), np.zeros_like(true)
    for drawn in in_pieces(flow.sample, draws, x.size, context, seed, batch_size=batch_size):
        # Small numbers keep their digits when they are squared.
        away = drawn.reshape(-1, *true.shape) - true
        total, squares = total + away.sum(axis=0), squares + np.square(away).sum(axis=0)
    mean = true + total / draws
    variance = np.maximum(squares - total**2 / draws, 0.0) / (draws - 1)
    contraction = 1 - variance.mean(axis=0) / spread
    with np.errstate(invalid="ignore"):  # means that are all the same have no correlation: 0
        correlation = [np.nan_to_num(np.corrcoef(a, b)[0, 1]) for a, b in zip(mean.T, true.T, strict=True)]
    return Finding(
        "recovery",
        f"Means of {draws} draws correlate with the truth by {min(correlation):.2f} to {max(correlation):.2f}; the "
        f"context leaves {1 - contraction.max():.0%} to {1 - contraction.min():.0%} of the variance.",
        {
            "rows": len(x),
            "draws": draws,
            "correlation": [float(c) for c in correlation],
            "contraction": contraction.tolist(),
        },
        None,
        lambda: _draw_recovery(true, mean, np.sqrt(variance)),
    )


def _draw_recovery(true, mean, deviation):
    count = min(_MOST, true.shape[1])
    figure = new_figure(2.4 * count, 2.6)
    for entry in range(count):
        axes = figure.add_subplot(1, count, entry + 1, xlabel="true", title=f"entry {entry}")
        rows = true[:, entry], mean[:, entry], deviation[:, entry]
        axes.errorbar(*rows, fmt=".", markersize=2, linewidth=0.4, color="C0", ecolor=GREY)
        axes.axline((true[0, entry],) * 2, slope=1, color="black", linewidth=0.8, linestyle="--")
    figure.axes[0].set_ylabel("mean and deviation of draws")
    return figure
