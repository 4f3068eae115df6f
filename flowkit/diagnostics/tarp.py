"""Tests of accuracy with random points: a test of conditional draws in all entries at once."""

import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked
from flowkit.diagnostics.calibration import LEVEL
from flowkit.diagnostics.finding import Finding, rank_plot
from flowkit.evaluation import pieces, uniformity
from flowkit.flow import Flow, prepare


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
    x, _ = prepare.checked(flow, x, context)
    if len(x) < 2:
        raise ValueError(f"tarp: got {len(x)} rows, expected at least 2.")
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
    for count, own_seed in pieces(draws, x.size, np.random.SeedSequence(seed)):
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
