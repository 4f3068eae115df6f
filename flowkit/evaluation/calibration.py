"""Simulation-based calibration: ranks of the truth among draws of a conditional density."""

from collections.abc import Iterator

import numpy as np

from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked, whole_number
from flowkit.flow import Flow, prepare

_SETS = 2_000  # of uniform ranks, drawn to know how far chance goes
_NUMBERS = 2**24  # of draws that are held at once: 64 MiB in float32

Band = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A distribution u, and how far below and above it others may go: (u, lower, upper)."""


@checked
def ranks(
    flow: Flow,
    x: Tensor,
    context: Context,
    *,
    draws: Count = 100,
    seed: int | None = None,
    batch_size: int | None = None,
) -> np.ndarray:
    """Count the `draws` from p(x | context_i) that are below x_i, entry by entry: whole numbers, numpy (n, *event).

    If each x_i was drawn from the true p(x | context_i), and the flow is right, ranks are uniform on 0, ..., `draws`:
    simulation-based calibration. Posteriors that are too narrow give ranks that heap up at both ends, those too wide in
    the middle, and those that lie to one side at one end. Draws that equal x_i, as whole numbers may, count as below by
    chance.

    Each entry is compared by itself, and on average over contexts: a flow that ignores its context, and has the
    right marginals, passes. So look at `flow.log_prob` of the same pairs as well.

    Raises ValueError for a flow that reads no context. Talts, Betancourt, Simpson, Vehtari & Gelman, Validating
    Bayesian Inference Algorithms with Simulation-Based Calibration (2018).

    >>> from flowkit import zoo
    >>> flow = zoo.maf(features=2, context=3, layers=1, hidden=[8])
    >>> rng = np.random.default_rng(0)
    >>> x, context = rng.normal(size=(50, 2)), rng.normal(size=(50, 3))
    >>> found = ranks(flow.adapt(x, context), x, context, draws=20, seed=0)
    >>> found.shape, bool(found.min() >= 0), bool(found.max() <= 20)
    ((50, 2), True, True)
    """
    if context is None:
        raise ValueError("ranks: got no context, expected one for each row of x.")
    x, _ = prepare.checked(flow, x, context)
    source = np.random.SeedSequence(seed)
    below, equal = np.zeros(x.shape, "int64"), np.zeros(x.shape, "int64")
    for count, own_seed in pieces(draws, x.size, source):
        drawn = flow.sample(count, context, seed=own_seed, batch_size=batch_size)
        below += (drawn < x).sum(axis=0)
        equal += (drawn == x).sum(axis=0)
    return below + np.random.default_rng(source).integers(0, equal, endpoint=True)


def pieces(draws: int, size: int, source: np.random.SeedSequence) -> Iterator[tuple[int, int]]:
    """Yield (count, seed) for `draws` of `size` numbers each, as many at once as memory should hold."""
    at_once = min(draws, max(1, _NUMBERS // max(1, size)))
    seeds = source.generate_state(-(-draws // at_once)) >> 1
    for seed, first in zip(seeds, range(0, draws, at_once), strict=True):
        yield min(at_once, draws - first), int(seed)


def uniformity(ranks: np.ndarray, *, draws: int, seed: int = 0) -> np.ndarray:
    """Return the probability of ranks at least as uneven, if uniform on 0, ..., `draws`: for each entry, (*event).

    The statistic is the largest distance of their distribution from the uniform one, in standard deviations,

        max_k |F(k) - u_k| / sqrt(u_k (1 - u_k) / n),    u_k = (k + 1) / (draws + 1),

    compared with that of 2,000 sets of n uniform ranks. So no result is below 1/2001. With many entries some are
    small by chance: multiply by their number. Raises ValueError for anything but such ranks.

    >>> even = np.arange(1000) % 21
    >>> float(uniformity(even, draws=20)), float(uniformity(even // 2, draws=20)) < 0.001
    (1.0, True)
    """
    found = np.asarray(ranks)
    draws = whole_number(draws, "draws", least=1)
    if not np.issubdtype(found.dtype, np.integer) or not found.size or found.min() < 0 or found.max() > draws:
        raise ValueError(
            f"uniformity: expected whole numbers in 0..{draws}, a row for each pair, received "
            f"{found.dtype} of shape {found.shape}"
            + (f" in {found.min()}..{found.max()}" if found.size else "")
            + "."
        )
    u, deviation, by_chance = _uniform_ranks(len(found), draws, seed)
    columns = found.reshape(len(found), -1).T
    counts = np.stack([np.bincount(column, minlength=draws + 1) for column in columns])
    # Equal counts may differ by rounding; different ones differ by far more than 1e-9.
    farthest = _farthest(counts, u, deviation)[:, None] - 1e-9
    more = (_farthest(by_chance, u, deviation) >= farthest).sum(axis=1)
    return ((1 + more) / (1 + _SETS)).reshape(found.shape[1:])


@checked
def rank_band(n: Count, *, draws: Count, level: Between0And1 = 0.95, seed: int = 0) -> Band:
    """Return (u, lower, upper), each (draws + 1,), where F(k) of `n` uniform ranks stays for all k at once.

    F(k) is the share of ranks that are at most k, u_k = (k + 1) / (draws + 1) its expectation, and the band is

        u_k -+ c sqrt(u_k (1 - u_k) / n),

    c such that `level` of 2,000 sets of uniform ranks stay within. `uniformity` is below 1 - level for ranks that leave
    it. Raises ValueError for a level that is not between 0 and 1. After Säilynoja, Bürkner & Vehtari, Graphical test
    for discrete uniformity and its applications in goodness-of-fit evaluation and multiple sample comparison (2022),
    with standard deviations in place of quantiles.

    >>> u, lower, upper = rank_band(1000, draws=3)
    >>> u.tolist(), bool((lower <= u).all()), float(upper[1]) < 0.55
    ([0.25, 0.5, 0.75, 1.0], True, True)
    """
    return chance_band(*_uniform_ranks(n, draws, seed), level)


def chance_band(u: np.ndarray, deviation: np.ndarray, counts: np.ndarray, level: float) -> Band:
    """Return (u, lower, upper), within which `level` of the distributions stay that have these `counts` (sets, len(u)).

    Its width is in proportion to `deviation`.
    """
    half = np.quantile(_farthest(counts, u, deviation), level, method="higher") * deviation
    return u, np.maximum(u - half, 0.0), np.minimum(u + half, 1.0)


def _uniform_ranks(n, draws, seed):
    """Return what F(k) is for uniform ranks, its standard deviation, and counts of each rank in sets of `n`."""
    u = np.arange(1, draws + 2) / (draws + 1)
    counts = np.random.default_rng(seed).multinomial(n, np.full(draws + 1, 1 / (draws + 1)), size=_SETS)
    return u, np.sqrt(u * (1 - u) / n), counts


def _farthest(counts, u, deviation):
    """Return the largest distance of each row's distribution from `u`, in units of `deviation`; the last is 1."""
    share = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    return np.max(np.abs(share - u)[:, :-1] / deviation[:-1], axis=1)
