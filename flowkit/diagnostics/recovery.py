"""Recovery: what draws of a conditional flow say about the entries that were true."""

import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import whole_number
from flowkit.diagnostics.finding import GREY, Finding
from flowkit.evaluation import pieces
from flowkit.flow import Flow, prepare
from flowkit.training.pictures import new_figure

_MOST = 6  # entries that are drawn


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
    x, _ = prepare.checked(flow, x, context)
    if len(x) < 2:
        raise ValueError(f"recovery: got {len(x)} rows, expected at least 2.")
    true = x.reshape(len(x), -1).astype("float64")
    total, squares = np.zeros_like(true), np.zeros_like(true)
    for count, own_seed in pieces(draws, x.size, np.random.SeedSequence(seed)):
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
        lambda: _draw(true, mean, np.sqrt(variance)),
    )


def _draw(true, mean, deviation):
    count = min(_MOST, true.shape[1])
    figure = new_figure(2.4 * count, 2.6)
    for entry in range(count):
        axes = figure.add_subplot(1, count, entry + 1, xlabel="true", title=f"entry {entry}")
        rows = true[:, entry], mean[:, entry], deviation[:, entry]
        axes.errorbar(*rows, fmt=".", markersize=2, linewidth=0.4, color="C0", ecolor=GREY)
        axes.axline((true[0, entry],) * 2, slope=1, color="black", linewidth=0.8, linestyle="--")
    figure.axes[0].set_ylabel("mean and deviation of draws")
    return figure
