"""Outliers: scores that are higher, the less a row belongs to the data, and how well they tell other data apart."""

from typing import Any

import numpy as np
from scipy import stats

from flowkit.contract import Context, Tensor
from flowkit.diagnostics.finding import Finding, histograms
from flowkit.flow.flow import Flow
from flowkit.training.pictures import new_figure

_TITLES = {
    "log_prob": "-log p(x), which fails",
    "typicality": "typicality",
    "likelihood_ratio": "likelihood ratio",
}


def typicality(
    flow: Flow,
    x: Tensor,
    reference: Tensor,
    context: Context = None,
    *,
    reference_context: Context = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Return |log p(x) - mean of log p over `reference`|, numpy (n,): the distance from a typical density.

    Where a density is highest there are often no data: in many dimensions nearly all of the mass lies in a thin shell,
    where -log p is near to the entropy. `reference` are rows of the data, such as those trained on. Nalisnick,
    Matsukawa, Teh & Lakshminarayanan, Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality
    (2019), with a single row in each set.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.build((None, 100))
    >>> rows = np.random.default_rng(0).normal(size=(200, 100))
    >>> middle = np.zeros((1, 100))  # has the highest density of all, and no data come near to it
    >>> bool(flow.log_prob(middle) > flow.log_prob(rows).max())
    True
    >>> bool(typicality(flow, middle, rows) > typicality(flow, rows, rows).max())
    True
    """
    usual = flow.log_prob(reference, reference_context, batch_size=batch_size, seed=seed)
    found = flow.log_prob(x, context, batch_size=batch_size, seed=seed)
    return np.abs(found.astype("float64") - usual.mean(dtype="float64"))


def likelihood_ratio(
    flow: Flow,
    background: Flow,
    x: Tensor,
    context: Context = None,
    *,
    background_context: Context = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Return log p_background(x) - log p(x), numpy (n,): how much likelier a more general flow finds the rows.

    Properties that make any image likely, such as smoothness, add as much to both and cancel. `background` was trained
    on other data, more of all kinds, or on the same data with some of their pixels replaced by noise. Ren et al.,
    Likelihood Ratios for Out-of-Distribution Detection (2019); Schirrmeister, Zhou, Ball & Zhang, Understanding Anomaly
    Detection with Deep Invertible Networks through Hierarchies of Distributions and Features (2020).

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow, wider = Flow(Scale(0.0)), Flow(Scale(-1.0))
    >>> for one in (flow, wider):
    ...     one.build((None, 2))
    >>> likelihood_ratio(flow, wider, np.array([[0.0, 0.0], [5.0, 5.0]])).round(1).tolist()
    [-2.0, 19.6]
    """
    general = background.log_prob(x, background_context, batch_size=batch_size, seed=seed)
    return general.astype("float64") - flow.log_prob(x, context, batch_size=batch_size, seed=seed)


def outliers(
    flow: Flow,
    x: Tensor,
    outside: Tensor,
    context: Context = None,
    *,
    outside_context: Context = None,
    reference: Tensor | None = None,
    reference_context: Context = None,
    background: Flow | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Finding:
    """Measure how well scores tell `outside`, data of another kind, from `x`: the AUROC of each.

    An AUROC is the chance that a row of `outside` gets a higher score than one of `x`: 1 tells them apart, 0.5 does
    not, and below 0.5 a flow finds other data *more* likely than its own. -log p(x) is known for the last,
    on images that are simpler (Nalisnick et al., Do Deep Generative Models Know What They Don't Know?, 2019), so
    it stands here for comparison. `typicality` compares with `reference`, `x` if it is None; `likelihood_ratio` needs a
    `background` flow, which reads no context.

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
    # As `typicality` and `likelihood_ratio` return them, which would score the same rows again.
    scores = {
        "log_prob": [-part for part in found],
        "typicality": [np.abs(part - usual.mean(dtype="float64")) for part in found],
    }
    if background is not None:
        scores["likelihood_ratio"] = [
            background.log_prob(rows, **how) - part for rows, part in zip((x, outside), found, strict=True)
        ]
    auroc = {name: _auroc(*both) for name, both in scores.items()}
    _, *others = (f"{name.replace('_', ' ')} {value:.3f}" for name, value in auroc.items())
    return Finding(
        "outliers",
        f"AUROC of other data against the test data: {', '.join(others)}; raw -log p {auroc['log_prob']:.3f}"
        + (", which finds other data more likely than its own." if auroc["log_prob"] < 0.5 else "."),
        {"rows": len(x), "outside_rows": len(outside), "auroc": auroc},
        None,
        lambda: _draw(scores, auroc),
    )


def _auroc(inside, outside):
    """Return the chance that a score of `outside` is higher than one of `inside`; equal ones count half."""
    return float(stats.mannwhitneyu(outside, inside).statistic / (len(inside) * len(outside)))


def _draw(scores, auroc):
    figure = new_figure(4 * len(scores), 3.5)
    every_axes = figure.subplots(1, len(scores))
    for axes, (name, both) in zip(every_axes, scores.items(), strict=True):
        inside, outside = (values[np.isfinite(values)] for values in both)
        ends = np.quantile(np.concatenate([inside, outside]), [0.005, 0.995])
        bins = np.linspace(*ends, 41) if ends[1] > ends[0] else 10
        histograms(axes, bins, ("test data", inside), ("other data", outside))
        axes.set(title=_TITLES[name], xlabel=f"score, nats (AUROC {auroc[name]:.3f})", yticks=[])
    return figure
