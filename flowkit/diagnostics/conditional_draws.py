"""Draws of a conditional flow, compared with the entries that were true: calibration, TARP and recovery."""

import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked, whole_number
from flowkit.diagnostics.finding import GREY, Finding, holm, rank_plot
from flowkit.evaluation import SETS, pieces, ranks, uniformity
from flowkit.flow import Flow, prepare
from flowkit.training.pictures import new_figure

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
    closer = np.zeros(len(x), "int64")
    for count, own_seed in pieces(draws, x.size, seed):
        drawn = flow.sample(count, context, seed=own_seed, batch_size=batch_size)
        closer += (distances(drawn) < own).sum(axis=0)
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
    x, _ = prepare.checked(flow, x, context)
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

    Raises ValueError for fewer than two rows. Schad, Betancourt & Vasishth, Toward a Principled Bayesian Workflow in
    Cognitive Science (2021).

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
    total, squares = np.zeros_like(true), np.zeros_like(true)
    for count, own_seed in pieces(draws, x.size, seed):
        drawn = flow.sample(count, context, seed=own_seed, batch_size=batch_size)
        # Small numbers keep their digits when they are squared.
        away = drawn.reshape(count, *true.shape) - true
        total, squares = total + away.sum(axis=0), squares + np.square(away).sum(axis=0)
    mean = true + total / draws
    variance = np.maximum(squares - total**2 / draws, 0.0) / (draws - 1)
    contraction = 1 - variance.mean(axis=0) / true.var(axis=0)
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
