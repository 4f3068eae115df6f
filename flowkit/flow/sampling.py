"""Samples and latents of a fitted flow: numpy, block by block."""

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from flowkit import distributed
from flowkit.bijectors.levels import per_latent
from flowkit.contract.arguments import shown, whole_number
from flowkit.contract.shapes import as_tuple
from flowkit.data.gaussian_noise import GaussianNoise
from flowkit.engines import engine
from flowkit.flow import prepare
from flowkit.flow.batches import batch_size_of, count, default_batch_size, one_of_few, run, run_in_batches
from flowkit.flow.context import check_context, context_kind
from flowkit.flow.group import check_same
from flowkit.flow.noise import counted_for, undithered
from flowkit.flow.round_trip import look_at, one_check, warn_of_overflow
from flowkit.flow.scoring import densities

_SEEDS = 2**31  # every engine takes smaller seeds


def sample(
    flow: Any,
    n: Any,
    context: Any,
    temperature: Any,
    seed: Any,
    batch_size: Any,
    check: Any,
    *,
    spread: bool = False,
    score: bool = False,
) -> Any:
    """Return samples: see `Flow.sample`. With `score`, (samples, log_prob): see `Flow.sample_and_log_prob`."""
    n, passed = whole_number(n, "n", least=0), context
    one_check(check)
    context = prepare.seen_context(flow, context, batch_size)
    numbers = entropy(flow.sampler if seed is None else seed)
    if spread and distributed.world() > 1:
        told = {"n": n, "context": check_context(flow, passed), "temperature": temperature, "check": check}
        check_same(told | {"seed": None if seed is None else numbers})
        if seed is None:  # a process that has drawn alone has its own generator elsewhere
            numbers = distributed.gather(np.array(numbers, "uint64"))[: len(numbers)].tolist()
    lead = (n,) if context is None else (n, count(context))
    draws = Draws(flow, math.prod(lead), context, temperature, numbers)
    rows = distributed.mine(np.arange(draws.count)) if spread else np.arange(draws.count)
    first, stop = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    compute = _with_log_prob if score else _drawn
    pieces = [
        compute(flow, z, seen, batch_size, draws.noise_seed, start)
        for start, z, seen in draws.blocks(first, stop)
    ]
    x, finite, *log_prob = map(np.concatenate, zip(*pieces, strict=True))
    if spread:
        x, finite = distributed.gather(x), distributed.gather(finite)
    warn_of_overflow(finite)
    look_at(flow, x, context, check, batch_size)
    x = as_frame(flow, x.reshape(*lead, *x.shape[1:]))
    return (x, log_prob[0].reshape(lead)) if score else x


def _with_log_prob(flow, z, context, batch_size, seed, first):
    """Return (data of latents, which rows are finite, log_prob of the data)."""
    if flow.exact != "exact" or flow.bijector.forgets(inverse=False):
        x, finite = _drawn(flow, z, context, batch_size, seed, first)
        return x, finite, densities(flow, x, context, batch_size, seed=0, first=first)

    def score(start, stop, piece):
        noise = counted_for(flow, piece[0].shape, first + start, inverse=True, seed=seed)
        return run(flow, flow._invert_and_score, *piece, noise)

    x, log_prob = run_in_batches(score, (z, context), len(z), batch_size_of(flow, batch_size))
    return x, _finite(flow, x), log_prob


def _drawn(flow, z, context, batch_size, seed, first):
    """Return `decoded` of latents that were drawn: noise that training added is taken off."""
    noisy = isinstance(flow.dequantize, GaussianNoise)
    function = flow._backward_without_noise if noisy else flow._backward
    return decoded(flow, z, context, batch_size, seed, first, function)


def decoded(
    flow: Any,
    z: Any,
    context: Any,
    batch_size: Any,
    seed: int,
    first: int = 0,
    function: Callable[..., Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (data of latents, stored values with `dequantize`; which rows are finite).

    `first` is the number of the first row among all whose noise differs. `function` None is the flow's way back.
    """
    function = flow._backward if function is None else function

    def backward(start, stop, piece):
        noise = counted_for(flow, piece[0].shape, first + start, inverse=True, seed=seed)
        y = ops.convert_to_numpy(run(flow, function, *piece, noise))
        return (y if flow.dequantize is None else flow.dequantize.as_stored(y)), _finite(flow, y)

    return run_in_batches(backward, (z, context), len(z), batch_size_of(flow, batch_size))


def _finite(flow, x):
    return prepare.finite_or_missing(flow, x).all(axis=tuple(range(1, x.ndim)))


def encoded(flow: Any, x: Any, context: Any, batch_size: Any, seed: int) -> np.ndarray:
    """Return the latents of checked data; whole values count as the middle of their bins."""

    def forward(start, stop, piece):
        x, context = piece
        y = undithered(flow, x)
        noise = counted_for(flow, y.shape, start, inverse=False, seed=seed)
        return run(flow, flow._forward, y, context, noise)

    return run_in_batches(forward, (x, context), len(x), batch_size_of(flow, batch_size))


def as_frame(flow: Any, x: np.ndarray) -> Any:
    """Return a table as a frame, if the flow knows its columns."""
    return x if flow.columns is None or x.ndim != 2 else flow.columns.frame(x)


def latents(flow: Any, count: int, context: Any, temperature: Any, seed: Any) -> np.ndarray:
    """Return `count` draws of a flow's base, (count, *event); `context` holds what the base receives."""
    numbers = entropy(flow.sampler if seed is None else seed)
    draws = Draws(flow, count, context, temperature, numbers)
    return np.concatenate([z for _, z, _ in draws.blocks()])


class Draws:
    """`count` draws of a flow's base, in blocks.

    The size of a block follows from that of an event alone, and its seed from `numbers` and the number of the block.
    So the same numbers give the same rows, whatever the batch size and the part of the rows that is drawn. A context of
    b rows repeats: draw i has row i % b.
    """

    def __init__(self, flow: Any, count: int, context: Any, temperature: Any, numbers: list[int]) -> None:
        self.count, self.context = count, context
        # For noise besides the latents.
        self.noise_seed = int(np.random.SeedSequence(numbers).generate_state(1, "uint64")[0])
        self._base, self._numbers = flow.base, numbers
        self._event = as_tuple(flow.bijector.compute_output_shape((None, *flow._event())))[1:]
        self._temperature = per_latent(flow.bijector, temperature)
        self._rows = default_batch_size(math.prod(self._event))

    def blocks(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, np.ndarray, Any]]:
        """Yield (number of the first row, latents, context) for each block of rows `first` to `stop`; at least one."""
        stop = self.count if stop is None else stop
        for number in range(first // self._rows, max(1, -(-stop // self._rows))):
            start = number * self._rows
            low, high = max(first, start), min(stop, start + self._rows)
            rows = np.arange(low, high)
            yield low, self._block(number)[low - start : high - start], self._context_of(rows)

    def _block(self, number):
        first = number * self._rows
        count = min(self._rows, self.count - first)
        if not count:
            return np.zeros((0, *self._event), self._base.compute_dtype)
        size = min(self._rows, one_of_few(count))  # more than needed, so that few programs are compiled
        context = self._context_of(first + np.minimum(np.arange(size), count - 1))
        context = None if context is None else tree.map_structure(ops.convert_to_tensor, context)
        with engine.no_grad():
            z = engine.draw_alone(
                lambda generator: self._base.sample(
                    (size, *self._event),
                    temperature=self._temperature,
                    seed=generator,
                    context=context,
                ),
                self._base,
                _mixed(self._numbers, number),
            )
        return ops.convert_to_numpy(z)[:count]

    def _context_of(self, rows):
        if self.context is None:
            return None
        return tree.map_structure(lambda c: c[rows % max(1, len(c))], self.context)


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
        raise ValueError(
            f"seed: expected a whole number or a SeedGenerator, received {shown(seed)}."
        ) from None


def _mixed(numbers, block):
    """Return a seed for a block, unrelated to its neighbours': engines add the number of the draw to it."""
    return int(np.random.SeedSequence([*numbers, block]).generate_state(1)[0] % _SEEDS)


# Draws that carry gradients


def draw(flow: Any, n: Any, context: Any = None, seed: Any = None) -> tuple[Any, Any]:
    """Return x = f^-1(z) for draws z of the base, and log q(x), as tensors: see `Flow.draw`."""
    if flow.dequantize is not None or "whole" in flow.bijector.spec.domain.kind:
        raise ValueError(
            "draw expects a flow of continuous data, received one with dequantize: whole values carry no gradients. "
            "Use sample_and_log_prob."
        )
    flow._event()  # raises if it is not built
    if not ops.is_tensor(n):  # TensorFlow's steps do not know the size of a batch beforehand
        n = whole_number(n, "n", least=1)
    if context is None or context_kind(flow) == "none":
        return flow._draw_and_score(n, None, seed)
    seen = flow.embed(tree.map_structure(ops.convert_to_tensor, context))
    each = ops.shape(tree.flatten(seen)[0])[0]
    seen = tree.map_structure(lambda c: ops.tile(c, (n, *(1,) * (len(c.shape) - 1))), seen)
    x, log_q = flow._draw_and_score(n * each, seen, seed)
    return ops.reshape(x, (n, each, *x.shape[1:])), ops.reshape(log_q, (n, each))
