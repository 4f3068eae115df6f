"""Coverage: the share of the data in regions of highest density."""

import math
from typing import Annotated

import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked, whole
from flowkit.diagnostics.finding import Finding, band_plot
from flowkit.evaluation import SETS, Band, chance_band, pieces, rank_band
from flowkit.flow.flow import Flow

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
    drawn = _densities_of_draws(flow, context, number, len(found), seed, batch_size)
    if context is None:
        expected = band(len(found), samples, level)
    else:
        expected = rank_band(len(found), draws=draws, level=level)
    ranks = _ranks(found, drawn, np.random.default_rng(seed))
    share = (ranks[:, None] < (expected[0] * (number + 1)).round()).mean(axis=0)
    return _reported(share, expected, len(found), number, level)


def _reported(share, expected, rows, draws, level):
    """Return the finding of the shares C(u) of so many rows, for a band (u, lower, upper)."""
    u, lower, upper = expected
    outside = (share < lower - 1e-9) | (share > upper + 1e-9)
    worst = int(np.argmax(np.abs(share - u)))
    passed = not outside.any()
    axes = "mass of the region of highest density", "share of the data in it, less that mass"
    return Finding(
        "coverage",
        f"Regions of highest density that should hold {u[worst]:.0%} of the data hold {share[worst]:.1%}, which is the "
        f"largest difference; {'all are' if passed else f'{outside.mean():.0%} of levels are not'} within the "
        f"{level:.0%} band.",
        {
            "rows": rows,
            "draws": draws,
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


def _densities_of_draws(flow, context, number, rows, seed, batch_size):
    """Return log p of draws, float64: (number, 1) without a context, (number, rows) with one."""
    parts = (
        pieces(number, rows * math.prod(flow.event_shape), seed) if context is not None else [(number, seed)]
    )
    drawn = [
        flow.sample_and_log_prob(count, context, seed=own_seed, batch_size=batch_size, check=None)[1]
        for count, own_seed in parts
    ]
    return _without_nan(np.concatenate(drawn).reshape(number, -1))


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


def _ranks(found, drawn, rng):
    """Count draws of higher density than each row, and equal ones by chance. `drawn` is (m, 1) or (m, n)."""
    higher, equal = (drawn > found).sum(axis=0), (drawn == found).sum(axis=0)
    return higher + rng.integers(0, equal, endpoint=True)


def _without_nan(log_prob):
    """Return float64, NaN replaced by the log of no density: sorting would put it last, as the densest of all."""
    log_prob = np.asarray(log_prob, "float64")
    return np.where(np.isnan(log_prob), -np.inf, log_prob)
