"""Numbers about a flow: the bits of each level, the calibration of its posteriors, and the likeness of two samples."""

import math
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.levels import find_levels
from flowkit.contract import Context, Tensor
from flowkit.contract.arguments import Between0And1, Count, checked, whole_number
from flowkit.contract.call import Call
from flowkit.contract.shapes import event_size
from flowkit.distributions import Normal
from flowkit.flow import Flow, inputs
from flowkit.flow.rows import refuse_varying, run_rows
from flowkit.flow.seeding import own_draws

__all__ = ["c2st", "level_bits", "rank_band", "ranks", "uniformity"]

# Simulation-based calibration: ranks of the truth among draws of a conditional density

SETS = 2_000  # drawn by chance, to know how far a right flow goes
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
    x, _ = inputs.checked_data(flow, x, context)
    below, equal = np.zeros(x.shape, "int64"), np.zeros(x.shape, "int64")
    for drawn in in_pieces(flow.sample, draws, x.size, context, seed, batch_size=batch_size):
        below += (drawn < x).sum(axis=0)
        equal += (drawn == x).sum(axis=0)
    return ties_by_chance(below, equal, seed)


def in_pieces(
    sample: Callable[..., Any], draws: int, size: int, context: Context, seed: int | None, **options: Any
) -> Iterator[Any]:
    """Yield `sample(count, context, seed=...)` for `draws` of `size` numbers each, as many as memory should hold."""
    at_once = min(draws, max(1, _NUMBERS // max(1, size)))
    seeds = np.random.SeedSequence(seed).generate_state(-(-draws // at_once)) >> 1
    for seed, first in zip(seeds, range(0, draws, at_once), strict=True):
        yield sample(min(at_once, draws - first), context, seed=int(seed), **options)


def ties_by_chance(before: np.ndarray, equal: np.ndarray, seed: int | None) -> np.ndarray:
    """Return ranks: the number of draws before each number, and a random share of those that equal it."""
    return before + np.random.default_rng(seed).integers(0, equal, endpoint=True)


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
            f"uniformity: got {found.dtype} of shape {found.shape}"
            + (f" in {found.min()}..{found.max()}" if found.size else "")
            + f", expected whole numbers in 0..{draws}, a row for each pair."
        )
    u, deviation, by_chance = _uniform_ranks(len(found), draws, seed)
    columns = found.reshape(len(found), -1).T
    counts = np.stack([np.bincount(column, minlength=draws + 1) for column in columns])
    # Equal counts may differ by rounding; different ones differ by far more than 1e-9.
    farthest = _farthest(counts, u, deviation)[:, None] - 1e-9
    more = (_farthest(by_chance, u, deviation) >= farthest).sum(axis=1)
    return ((1 + more) / (1 + SETS)).reshape(found.shape[1:])


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
    counts = np.random.default_rng(seed).multinomial(n, np.full(draws + 1, 1 / (draws + 1)), size=SETS)
    return u, np.sqrt(u * (1 - u) / n), counts


def _farthest(counts, u, deviation):
    """Return the largest distance of each row's distribution from `u`, in units of `deviation`; the last is 1."""
    share = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    return np.max(np.abs(share - u)[:, :-1] / deviation[:-1], axis=1)


# The bits of each level of a multi-scale flow


def level_bits(
    flow: Flow, x: Tensor, context: Context = None, *, batch_size: int | None = None, seed: int = 0
) -> np.ndarray:
    """Divide `flow.bits_per_dim(x)` among the levels, numpy (n, levels): a row adds up to that number.

    Level l, with d_l of the D entries, carries

        b_l = -(log N(eps_l) + log|det deps_l/dz_l| + d_l v_l) / (D ln 2),

    where eps_l are its latents, whitened by its prior, and v_l is the log-volume per entry that they have gained
    on their way: -ln(levels of the data) for the bin that dequantisation fills, plus, for each scale that they
    have passed, its log-det over the number of entries that came out of it.

    So a scale's log-det is shared by what leaves after it and what goes on, entry by entry. Charged to its own
    level alone it would depend on the unit in which a scale hands on: a factor of 2 there moves a bit per
    entry from one level to another, and changes no density. Data uniform over 2^b values, coded as they are,
    have b bits in each entry of each level.

    As in `flow.log_prob` there is one draw of dequantisation noise, from `seed`. Order: that of `split_latents`.
    Raises ValueError for a flow without levels, or with another base than Normal (its latents might depend
    on each other, and could not be scored level by level).

    >>> import numpy as np
    >>> from flowkit import zoo
    >>> flow = zoo.glow(levels=2, steps=1, width=4)
    >>> images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype="uint8")
    >>> bits = level_bits(flow.adapt(images), images)
    >>> bits.shape, bool(np.allclose(bits.sum(axis=1), flow.bits_per_dim(images)))
    ((8, 2), True)
    """
    check_scored_by_level(flow, "level_bits")
    score = MethodType(_level_log_probs, flow)  # equal each time, so that it is compiled once
    with flow.lock:
        x, context = inputs.checked_and_embedded(flow, x, context, batch_size)
        nats = run_rows(flow, score, x, context, stored="noise", batch_size=batch_size, seed=seed)
    return -nats.astype("float64") / (math.prod(flow.event_shape) * math.log(2))


def check_scored_by_level(flow: Flow, wanted: str) -> None:
    """Raise ValueError, beginning with `wanted`, for a flow whose levels cannot be scored one by one."""
    find_levels(flow.bijector, wanted)
    if not isinstance(flow.base, Normal):
        raise ValueError(f"{wanted}: got {type(flow.base).__name__} as the flow's base, expected Normal.")
    refuse_varying(flow.dequantize, wanted)
    if flow.bijector.spec.draws(inverse=False):
        raise ValueError(
            f"{wanted}: got a bijector with noise={flow.bijector.spec.noise!r}, expected one that draws nothing: the "
            "bits that noise adds belong to no level."
        )


def _level_log_probs(flow, y, context, noise):
    # `noise` is None: level_bits refuses a bijector that draws.
    before, multiscale = find_levels(flow.bijector, "level_bits")
    entries = event_size(y.shape)
    volume = 0.0 if flow.dequantize is None else flow.dequantize.log_volume(1)
    call = Call(context)
    for part in before:
        y, log_det = part.run(y, call)
        volume = volume + log_det / entries
    columns = []
    for eps, log_det, whitening in multiscale.run_levels(y, call):
        volume = volume + log_det / entries
        size = event_size(eps.shape)
        eps = ops.reshape(eps, (-1, size))  # as a base sees all latents: flat
        columns.append(flow.base.log_prob(eps, context=context) + whitening + size * volume)
        entries -= size
    return ops.stack(columns, axis=1)


# The classifier two-sample test: can a network tell two sets of draws apart?


def c2st(x: Tensor, y: Tensor, *, folds: int = 5, epochs: int = 100, seed: int = 0) -> float:
    """Return the share of rows that a classifier assigns to the right one of two samples: 0.5 if they are alike.

    1 says that the samples have nothing in common. The classifier is a network of two hidden layers, 10 units for each
    column, trained on all but one of `folds` parts and tested on that part, each in turn. Columns are standardised by
    `x`. Random rows of the longer sample are left out, so that both have equally many.

    A number of tests, not a p-value: equal samples of n rows each give 0.5 with a standard error of 0.5 / sqrt(2 n).
    Raises ValueError for samples that are not rows of as many columns, or of fewer than `folds` rows, and for NaN.
    Lopez-Paz & Oquab, Revisiting Classifier Two-Sample Tests (2017); Lueckmann et al., Benchmarking Simulation-Based
    Inference (2021).

    >>> x, y = np.random.default_rng(0).normal(size=(2, 200, 1))
    >>> 0.3 < c2st(x, y, folds=2, epochs=5) < 0.7, c2st(x, y + 9.0, folds=2, epochs=20) > 0.95
    (True, True)
    """
    x, y = np.asarray(x, "float32"), np.asarray(y, "float32")
    folds = whole_number(folds, "c2st's folds", least=2)
    n = min(len(x), len(y))
    if x.ndim != 2 or y.shape[1:] != x.shape[1:] or n < folds:
        raise ValueError(
            f"c2st: got samples of shapes {x.shape} and {y.shape}, expected rows of the same columns, at least {folds}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("c2st: got NaN or infinity, expected finite numbers.")
    rng = np.random.default_rng(seed)
    scale = x.std(axis=0)
    rows = np.concatenate([rng.permutation(x)[:n], rng.permutation(y)[:n]])
    rows = (rows - x.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    labels = np.repeat([0.0, 1.0], n).astype("float32")
    parts = np.array_split(rng.permutation(2 * n), folds)
    # Train the networks of all folds at once, each on as many rows: (rows, folds).
    others = np.stack(
        [rng.permutation(np.setdiff1d(range(2 * n), part))[: 2 * n - len(parts[0])] for part in parts], axis=1
    )
    batch_size = min(256, -(-len(others) // 10))  # at least ten steps in an epoch
    # Without Keras's seed, which is that of numpy and the backend, and so of the caller's own draws.
    layers = [
        keras.layers.EinsumDense(
            "bfi,fio->bfo",
            (folds, units),
            bias_axes="fo",
            activation=activation,
            # Glorot's, whose fans Keras takes to be larger by the number of folds.
            kernel_initializer=keras.initializers.VarianceScaling(
                folds, "fan_avg", "uniform", seed=3 * seed + number
            ),
        )
        for number, (units, activation) in enumerate(
            [(10 * x.shape[1], "relu"), (10 * x.shape[1], "relu"), (1, None)]
        )
    ]
    network = keras.Sequential(layers)
    network.compile(keras.optimizers.Adam(5e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    with own_draws(seed):
        network.fit(
            rows[others], labels[others, None], batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0
        )
        logits = network.predict(np.repeat(rows[:, None], folds, axis=1), batch_size=4096, verbose=0)
    right = sum(((logits[part, fold, 0] > 0) == (labels[part] > 0)).sum() for fold, part in enumerate(parts))
    return int(right) / (2 * n)
