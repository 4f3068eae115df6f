"""Simulation-based calibration of a conditional flow."""

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked
from flowkit.diagnostics.finding import Finding, holm, rank_plot
from flowkit.evaluation import ranks, uniformity
from flowkit.flow.flow import Flow

LEVEL = 0.01
_SHOWN = 10  # entries in the figure


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
            f"calibration: expected at most {most} entries to test at level {level:g}, received {found.shape[1]}; "
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
    return int(2_000 * level)
