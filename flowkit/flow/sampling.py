"""Samples and latents of a fitted flow: numpy, block by block."""

import functools
import math
import operator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops, tree

from flowkit import distributed
from flowkit.bijectors.levels import level_sizes
from flowkit.contract.arguments import shown, whole_number
from flowkit.contract.checks import needs_context
from flowkit.contract.shapes import tiled
from flowkit.data.dequantize import GaussianNoise
from flowkit.engines import engine
from flowkit.flow import inputs
from flowkit.flow.group import check_same
from flowkit.flow.round_trip import look_at, warn_of_overflow
from flowkit.flow.rows import count, log_prob_of_rows, map_leaves, one_of_few, run_rows

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

_SEEDS = 2**31  # every engine takes smaller seeds


def sample(flow, n, context, temperature, seed, batch_size, check, options, *, spread=False, score=False):
    """Return samples: see `Flow.sample`. With `score`, (samples, log_prob): see `Flow.sample_and_log_prob`."""
    context = inputs.embedded_context(flow, context, batch_size)
    numbers = entropy(flow.sampler if seed is None else seed)
    if spread:  # a process that has drawn alone has its own generator elsewhere
        numbers = distributed.gather(np.array(numbers, "uint64"))[: len(numbers)].tolist()
        check_same({"n": n, "rows of context": 0 if context is None else count(context)})
    lead = (n,) if context is None else (n, count(context))
    total = math.prod(lead)
    rows = distributed.mine(np.arange(total)) if spread else np.arange(total)
    first, stop = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    compute = _with_log_prob if score else _data_of_latents
    draws = flow.draws[True] or flow.draws[False]
    noise_seed = _noise_seed(numbers) if draws else 0
    pieces = []
    for start, z, seen in blocks(flow, total, context, temperature, numbers, first, stop):
        pieces.append(compute(flow, z, seen, batch_size, noise_seed, start, **options))
    x, finite, *log_prob = map(np.concatenate, zip(*pieces, strict=True))
    if spread:
        x, finite = distributed.gather(x), distributed.gather(finite)
    if not finite.all():
        warn_of_overflow(finite)
    if check == "raise" or flow.may_lose_digits:
        look_at(flow, x, context, check, batch_size, **options)
    x = x.reshape(*lead, *x.shape[1:])
    x = x if flow.columns is None else as_frame(flow.columns, x)
    return (x, log_prob[0].reshape(lead)) if score else x


def _with_log_prob(flow, z, context, batch_size, seed, first):
    """Return (data of latents, which rows are finite, log_prob of the data)."""
    if flow.exact == "exact" and not flow.bijector.is_lossy(inverse=False):
        how = {"inverse": True, "seed": seed, "first": first, "batch_size": batch_size}
        x, log_prob = run_rows(flow, flow._to_data_and_score, z, context, **how)
        return *stored_and_finite(flow, x), log_prob
    x, finite = _data_of_latents(flow, z, context, batch_size, seed, first)
    log_prob = log_prob_of_rows(flow, x, context, batch_size, 0, 1, first)
    return x, finite, log_prob.astype(flow.compute_dtype)


def _data_of_latents(flow, z, context, batch_size, seed, first, **options):
    """Return (data of latents that were drawn, which rows are finite); take off noise that training added."""
    how = {"seed": seed, "first": first, "batch_size": batch_size}
    y = run_rows(flow, flow._to_data, z, context, inverse=True, **how, **options)
    if isinstance(flow.dequantize, GaussianNoise):
        y = run_rows(flow, flow._to_clean_data, y, context, **how, steps=options.get("steps"))
    return stored_and_finite(flow, y)


def stored_and_finite(flow, y):
    """Return (data of continuous values, whole ones with `dequantize`; which rows are finite)."""
    finite = inputs.finite_or_missing(flow, y).all(axis=tuple(range(1, y.ndim)))
    return (y if flow.dequantize is None else flow.dequantize.as_stored(y)), finite


def proposals(
    flow: "Flow", n: int, context: Any, seed: Any, batch_size: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws and their log q, for importance weights p(x) / q(x) with mean Z.

    For a flow with a bound as its likelihood, q and p also hold what the inverse drops, so the mean stays Z.
    """
    context = inputs.embedded_context(flow, context, batch_size)
    numbers = entropy(seed)
    how = {"inverse": True, "seed": _noise_seed(numbers), "batch_size": batch_size}
    pieces = [
        run_rows(flow, flow._to_data_and_score, z, seen, first=start, **how)
        for start, z, seen in blocks(flow, n, context, 1.0, numbers, 0, n)
    ]
    x, log_q = map(np.concatenate, zip(*pieces, strict=True))
    return x, log_q


def decoded(flow: "Flow", z: np.ndarray, context: Any = None) -> np.ndarray:
    """Return the data of latents, of which row i has row i % b of b rows of context; each of them is embedded once."""
    context = inputs.embedded_context(flow, context, None)
    parts = np.array_split(np.arange(len(z)), max(1, -(-len(z) // flow.rows_of_a_block)))
    with flow.lock:
        pieces = [_data_of_latents(flow, z[part], _repeated(context, part), None, 0, 0) for part in parts]
    x, finite = map(np.concatenate, zip(*pieces, strict=True))
    if not finite.all():
        warn_of_overflow(finite)
    return x


def as_frame(columns: Any, x: np.ndarray) -> Any:
    """Return rows as a frame of the columns; rows for each row of a context as they are."""
    return columns.frame(x) if x.ndim == 2 else x


def latents(flow: "Flow", count: int, context: Any, temperature: Any, seed: Any) -> np.ndarray:
    """Return `count` draws of a flow's base, (count, *event); `context` holds what the base receives."""
    numbers = entropy(flow.sampler if seed is None else seed)
    return np.concatenate([z for _, z, _ in blocks(flow, count, context, temperature, numbers, 0, count)])


def blocks(flow, count, context, temperature, numbers, first, stop):
    """Yield rows `first` to `stop` of `count` draws of a flow's base, in blocks: at least one.

    A block is the number of its first row, latents and context. Its size follows from that of an event alone, and its
    seed from `numbers` and the number of the block. So the same numbers give the same rows, whatever the batch size and
    the part of the rows that is drawn. A context of b rows repeats: draw i has row i % b.
    """
    event = flow.latent_shape
    temperature, most = _per_latent(flow.bijector, temperature), flow.rows_of_a_block
    for number in range(first // most, max(1, -(-stop // most))):
        start = number * most
        low, high = max(first, start), min(stop, start + most)
        own = min(most, count - start)
        # More rows than needed, so that few programs are compiled.
        rows = start + np.minimum(np.arange(min(most, one_of_few(own))), own - 1)
        z = np.zeros((0, *event), flow.base.compute_dtype)
        if own:
            seed = _mixed(numbers, number)
            z = _block(flow.base, (len(rows), *event), _repeated(context, rows), temperature, seed)
        yield low, z[low - start : high - start], _repeated(context, np.arange(low, high))


def _per_latent(bijector, temperature):
    """Expand per-level temperatures to one factor per latent, (dim,); a single number stays one.

    Raises ValueError for negative numbers, and if their number differs from the number of levels.
    """
    try:
        values = np.asarray(temperature, "float32")
    except (TypeError, ValueError):  # words, or a ragged list
        values = np.array(np.nan)
    if values.ndim > 1 or not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(
            f"temperature: got {temperature!r}, expected a number from 0 up, or one for each level."
        )
    if values.ndim == 0:
        return temperature
    sizes = level_sizes(bijector, "temperature, a sequence")
    if len(values) != len(sizes):
        raise ValueError(
            f"temperature: got a list of {len(values)}, expected a number, or one for each of {len(sizes)} levels."
        )
    return ops.convert_to_tensor(np.repeat(values, sizes), dtype=bijector.compute_dtype)


def _block(base, shape, context, temperature, seed):
    context = map_leaves(ops.convert_to_tensor, context)
    draw = functools.partial(base.sample, shape, temperature=temperature, context=context)
    with engine.no_grad():
        return ops.convert_to_numpy(engine.draw_alone(draw, base, seed))


def _repeated(context, rows):
    """Return the rows of a context, which begins again after its last one."""
    return map_leaves(lambda c: c[rows % max(1, len(c))], context)


def entropy(seed: Any) -> list[int]:
    """Return `seed`, a whole number or a `SeedGenerator`, which moves on, as whole numbers from 0 up."""
    if isinstance(seed, keras.random.SeedGenerator):
        state = ops.convert_to_numpy(seed.state)
        # As `next`, each step of which takes JAX 0.1 ms.
        seed.state.assign(state + np.array([0, 1], state.dtype))
        return [int(number) % 2**32 for number in state]
    try:
        return [operator.index(seed) % 2**64]
    except TypeError:
        raise ValueError(f"seed: got {shown(seed)}, expected a whole number.") from None


def _noise_seed(numbers):
    """Return the seed of the noise besides the latents."""
    return int(np.random.SeedSequence(numbers).generate_state(1, "uint64")[0])


def _mixed(numbers, block):
    """Return a seed for a block, unrelated to its neighbours': engines add the number of the draw to it."""
    return int(np.random.SeedSequence([*numbers, block]).generate_state(1)[0] % _SEEDS)


# Draws that carry gradients


def draw(flow: "Flow", n: Any, context: Any = None, seed: Any = None) -> tuple[Any, Any]:
    """Return x = f^-1(z) for draws z of the base, and log q(x), as tensors: see `Flow.draw`."""
    if flow.dequantize is not None or "whole" in flow.bijector.spec.domain.kind:
        raise ValueError(
            "Flow.draw: got a flow of whole values, expected one of continuous data. Use sample_and_log_prob."
        )
    inputs.check_adapted(flow)
    if not ops.is_tensor(n):  # TensorFlow's steps do not know the size of a batch beforehand
        n = whole_number(n, "n", least=1)
    if context is None or flow.context_kind == "none":
        if flow.bijector.spec.context == "required":
            raise needs_context(flow.bijector)
        return flow._draw_and_score(n, None, seed)
    seen = flow.embed(map_leaves(ops.convert_to_tensor, context))
    each = ops.shape(tree.flatten(seen)[0])[0]
    x, log_q = flow._draw_and_score(n * each, tiled(seen, n), seed)
    return ops.reshape(x, (n, each, *x.shape[1:])), ops.reshape(log_q, (n, each))
