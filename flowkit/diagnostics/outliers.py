"""Whether a flow tells other data from its own, by scores that hold up and by one that does not."""

from typing import Any

import numpy as np
from scipy import stats

from flowkit.diagnostics.drawing import BLUE, ORANGE, blank
from flowkit.diagnostics.finding import Finding
from flowkit.flow.flow import Flow

_TITLES = {
    "log_prob": "-log p(x), which fails",
    "typicality": "typicality",
    "likelihood_ratio": "likelihood ratio",
}


def outliers(
    flow: Flow,
    x: Any,
    outside: Any,
    context: Any = None,
    *,
    outside_context: Any = None,
    reference: Any = None,
    reference_context: Any = None,
    background: Flow | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """How well scores tell `outside`, data of another kind, from `x`: the AUROC of each.

    An AUROC is the chance that a row of `outside` gets a higher score than one of `x`: 1 tells them apart, 0.5 knows
    nothing, and below 0.5 a flow finds other data *more* likely than its own. The last is what -log p(x) is known for,
    on images that are simpler (Nalisnick et al., Do Deep Generative Models Know What They Don't Know?, 2019), so
    it stands here for comparison. `typicality` compares with `reference`, `x` if it is None; `likelihood_ratio` needs a
    `background` flow, which is given no context.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.build((None, 100))
    >>> x = np.random.default_rng(0).normal(size=(200, 100))
    >>> outliers(flow, x, 0.5 * x).numbers["auroc"]  # half as far out: denser, and no data are there
    {'log_prob': 0.0, 'typicality': 1.0}
    """
    how: dict[str, Any] = {"batch_size": batch_size, "seed": seed}
    found = [
        flow.log_prob(rows, given, **how).astype("float64")
        for rows, given in ((x, context), (outside, outside_context))
    ]
    usual = found[0] if reference is None else flow.log_prob(reference, reference_context, **how)
    # As `typicality` and `likelihood_ratio` have them, which would score the same rows again.
    scores = {
        "log_prob": [-part for part in found],
        "typicality": [np.abs(part - usual.mean(dtype="float64")) for part in found],
    }
    if background is not None:
        scores["likelihood_ratio"] = [
            background.log_prob(rows, **how) - part for rows, part in zip((x, outside), found, strict=True)
        ]
    auroc = {name: _auroc(*both) for name, both in scores.items()}
    told = ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in auroc.items() if name != "log_prob"
    )
    return Finding(
        "outliers",
        f"AUROC of other data against the test data: {told}; raw -log p {auroc['log_prob']:.3f}"
        + (", which finds other data more likely than its own." if auroc["log_prob"] < 0.5 else "."),
        {"rows": len(x), "outside_rows": len(outside), "auroc": auroc},
        None,
        lambda: _draw(scores, auroc),
    )


def _auroc(inside, outside):
    ranked = stats.rankdata(np.concatenate([inside, outside]))[len(inside) :]
    least = len(outside) * (len(outside) + 1) / 2
    return float((ranked.sum() - least) / (len(inside) * len(outside)))


def _draw(scores, auroc):
    figure = blank(4 * len(scores), 3.5)
    for axes, (name, both) in zip(
        figure.subplots(1, len(scores), squeeze=False)[0], scores.items(), strict=True
    ):
        ends = np.quantile(np.concatenate([s[np.isfinite(s)] for s in both]), [0.005, 0.995])
        bins = np.linspace(*ends, 41) if ends[1] > ends[0] else 10
        for values, colour, label in zip(both, (BLUE, ORANGE), ("test data", "other data"), strict=True):
            axes.hist(
                values[np.isfinite(values)], bins, density=True, histtype="step", color=colour, label=label
            )
        axes.set(title=_TITLES[name], xlabel=f"score, nats (AUROC {auroc[name]:.3f})", yticks=[])
        axes.legend(fontsize=8)
    return figure
