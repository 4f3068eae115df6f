"""Samples and latents of a fitted flow: numpy, batch by batch, in memory that does not grow with their number."""

import math
import operator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from flowkit import distributed
from flowkit.bijectors.levels import per_latent
from flowkit.contract.arguments import shown, whole_number
from flowkit.contract.noise import drawn, given
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine
from flowkit.flow.batches import batch_size_of, count, default_batch_size, one_of_few, padded, run_in_batches
from flowkit.flow.context import check_context, context_kind
from flowkit.flow.in_a_group import check_same_question
from flowkit.flow.noise import counted_for, undithered
from flowkit.flow.round_trip import look_at, warn_of_overflow
from flowkit.flow.scoring import densities

_SEEDS = 2**31  # every engine takes smaller seeds


def sample(
    flow: Any, n: Any, context: Any, temperature: Any, seed: Any, batch_size: Any, check: Any, spread: bool
) -> Any:
    """Return samples: see `Flow.sample`."""
    z, context, lead = _draw(flow, n, context, temperature, seed, batch_size, check, spread)
    x = decoded(flow, z, context, batch_size, check, z.seed, spread)
    return as_frame(flow, x.reshape(*lead, *x.shape[1:]))


def sample_and_score(
    flow: Any, n: Any, context: Any, temperature: Any, seed: Any, batch_size: Any, check: Any
) -> tuple[Any, np.ndarray]:
    """Return (samples, log_prob): see `Flow.sample_and_log_prob`."""
    z, context, lead = _draw(flow, n, context, temperature, seed, batch_size, check)
    if flow.exact != "exact" or flow.bijector.forgets(inverse=False):
        x = decoded(flow, z, context, batch_size, check, z.seed)
        log_prob = densities(flow, x, context, batch_size, seed=0)
    else:

        def draw(start, stop, piece):
            noise = counted_for(flow, piece[0].shape, start, inverse=True, seed=z.seed)
            return flow._run(flow._invert_and_score, *piece, noise)

        x, log_prob = run_in_batches(draw, (z, context), len(z), batch_size_of(flow, batch_size))
        warn_of_overflow(np.isfinite(x).all(axis=tuple(range(1, x.ndim))))
        look_at(flow, x, context, check, batch_size)
    return as_frame(flow, x.reshape(*lead, *x.shape[1:])), log_prob.reshape(lead)


def _draw(flow, n, context, temperature, seed, batch_size, check, spread=False):
    """Return (latents, what the parts receive of their context, the leading axes of the samples)."""
    n, passed = whole_number(n, "n", least=0), context
    context = flow._ready(context, batch_size)
    if spread and distributed.world() > 1:
        seed = _agreed_seed(flow, n, passed, temperature, seed, check)
    lead: tuple[int, ...] = (n,)
    if context is not None:
        lead = (n, count(context))
        context = tree.map_structure(lambda c: Repeated(c, n), context)
    return latents(flow, math.prod(lead), context, temperature, seed), context, lead


def decoded(
    flow: Any, z: Any, context: Any, batch_size: Any, check: Any, seed: int, spread: bool = False
) -> np.ndarray:
    """Return the data of latents, stored values with `dequantize`; each process decodes its part if `spread`."""
    first, mine = 0, (z, context)
    if spread:
        places = distributed.mine(np.arange(len(z)))
        first, stop = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
        mine = tree.map_structure(lambda rows: None if rows is None else Part(rows, first, stop), mine)
    size = len(mine[0])
    finite = np.ones(size, bool)

    def backward(start, stop, piece):
        noise = counted_for(flow, piece[0].shape, first + start, inverse=True, seed=seed)
        y = ops.convert_to_numpy(flow._run(flow._backward, *piece, noise))
        finite[start:stop] = np.isfinite(y).all(axis=tuple(range(1, y.ndim)))[: size - start]
        return y if flow.dequantize is None else flow.dequantize.as_stored(y)

    x = run_in_batches(backward, mine, size, batch_size_of(flow, batch_size))
    if spread:
        x, finite = distributed.gather(x), distributed.gather(finite)
    warn_of_overflow(finite)
    look_at(flow, x, context, check, batch_size)
    return x


def encoded(flow: Any, x: Any, context: Any, batch_size: Any, seed: int) -> np.ndarray:
    """Return the latents of checked data; whole values count as the middle of their bins."""

    def forward(start, stop, piece):
        x, context = piece
        y = undithered(flow, x)
        noise = counted_for(flow, y.shape, start, inverse=False, seed=seed)
        return flow._run(flow._forward, y, context, noise)

    return run_in_batches(forward, (x, context), len(x), batch_size_of(flow, batch_size))


def as_frame(flow: Any, x: np.ndarray) -> Any:
    """Return a table as a frame, if the flow knows its columns."""
    return x if flow.columns is None or x.ndim != 2 else flow.columns.frame(x)


def latents(flow: Any, count: int, context: Any, temperature: Any, seed: Any) -> "Latents":
    """Return draws of a flow's base, in the shape of the bijector's output."""
    return Latents(
        flow.base,
        count,
        as_tuple(flow.bijector.compute_output_shape((None, *flow._event())))[1:],
        seed=entropy(flow.sampler if seed is None else seed),
        temperature=per_latent(flow.bijector, temperature),
        context=context,
    )


def _agreed_seed(flow, n, context, temperature, seed, check):
    """Return the seed of all processes; raise ValueError in all of them unless they call with the same arguments."""
    passed, seed = seed is not None, entropy(flow.sampler if seed is None else seed)
    told = {"n": n, "context": check_context(flow, context), "temperature": temperature, "check": check}
    check_same_question({**told, "seed": seed if passed else None})
    # Where a process has drawn alone, its own generator is elsewhere.
    return seed if passed else Entropy(distributed.gather(np.array(seed, "uint64"))[: len(seed)].tolist())


class Latents:
    """`count` draws of `base`, one event to a row: those that are sliced are drawn, as numpy arrays.

    Rows come in blocks whose size follows from that of an event alone. Each block has a `SeedGenerator` of its own,
    which follows from `seed` and the number of the block. So the same seed gives the same rows however they are
    sliced, and a base that draws several times from the generator draws something else each time.

    - `seed`: whole numbers.
    - `context`: rows to draw given, as many as there are draws; None for none.

    >>> from flowkit.distributions import Normal
    >>> z = Latents(Normal(), 10, (2,), seed=[3])
    >>> bool((np.concatenate([z[:4], z[4:]]) == z[:]).all())
    True
    """

    def __init__(
        self, base: Any, count: int, event: Any, *, seed: Any, temperature: Any = 1.0, context: Any = None
    ) -> None:
        self.shape = (count, *event)
        self.dtype = np.dtype(base.compute_dtype)
        # For what else is drawn.
        self.seed = int(np.random.SeedSequence([*seed]).generate_state(1, "uint64")[0])
        self._base, self._seed, self._temperature, self._context = base, list(seed), temperature, context
        self._rows = default_batch_size(int(np.prod(event)))
        self._last: tuple[Any, int | None] = None, None  # the block that was drawn last, and its number

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        blocks = range(start // self._rows, -(-stop // self._rows))
        pieces = []
        for number in blocks:
            first = number * self._rows
            pieces.append(self._block(number)[max(start - first, 0) : stop - first])
        return np.concatenate(pieces) if pieces else np.zeros((0, *self.shape[1:]), self.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def _block(self, number):
        if self._last[1] != number:
            first = number * self._rows
            count = min(self._rows, len(self) - first)
            size = min(self._rows, one_of_few(count))  # more than needed, so that few programs are compiled
            context = self._context
            if context is not None:
                rows = slice(first, first + count)
                context = tree.map_structure(
                    lambda c: ops.convert_to_tensor(padded(c[rows], size - count)), context
                )
            with engine.no_grad():
                z = engine.draw_alone(
                    lambda generator: self._base.sample(
                        (size, *self.shape[1:]),
                        temperature=self._temperature,
                        seed=generator,
                        context=context,
                    ),
                    self._base,
                    _mixed(self._seed, number),
                )
            self._last = ops.convert_to_numpy(z)[:count], number
        return self._last[0]


class Repeated:
    """A context of b rows, over and over: row i is row i modulo b. Sliced like the array that it spares."""

    def __init__(self, rows: Any, times: int) -> None:
        self._given = rows
        self.shape, self.dtype = (times * len(rows), *rows.shape[1:]), rows.dtype

    def __getitem__(self, rows: Any) -> Any:
        places = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        return self._given[places % max(1, len(self._given))]

    def __len__(self) -> int:
        return self.shape[0]


class Part:
    """Rows `first` to `stop` of something that can be sliced, found when they are sliced."""

    def __init__(self, rows: Any, first: int, stop: int) -> None:
        self._rows, self._first = rows, first
        self.shape, self.dtype = (stop - first, *rows.shape[1:]), rows.dtype

    def __getitem__(self, rows: slice) -> Any:
        start, stop, _ = rows.indices(len(self))
        return self._rows[self._first + start : self._first + stop]

    def __len__(self) -> int:
        return self.shape[0]


class Entropy(list):
    """The whole numbers that a seed has become."""


def entropy(seed: Any) -> Entropy:
    """Return `seed`, a whole number or a `SeedGenerator`, which moves on, as whole numbers from 0 up."""
    if isinstance(seed, Entropy):
        return seed
    if isinstance(seed, keras.random.SeedGenerator):
        state = ops.convert_to_numpy(seed.state)
        # As `next`, each step of which takes JAX 0.1 ms.
        seed.state.assign(state + np.array([0, 1], state.dtype))
        return Entropy(int(number) % 2**32 for number in state)
    try:
        return Entropy([operator.index(seed) % 2**64])
    except TypeError:
        raise ValueError(
            f"seed: expected a whole number or a SeedGenerator, received {shown(seed)}."
        ) from None


def _mixed(seed, number):
    """Return a seed for block `number`, unrelated to its neighbours': engines add the draws' number to it."""
    return int(np.random.SeedSequence([*seed, number]).generate_state(1)[0] % _SEEDS)


# Draws that carry gradients


def draw(flow: Any, n: Any, context: Any = None, seed: Any = None) -> tuple[Any, Any]:
    """Return x = f^-1(z) for draws z of the base, and log q(x), as tensors: see `Flow.draw`."""
    if flow.dequantize is not None or flow.bijector.spec.domain.kind == "whole":
        raise ValueError(
            "draw expects a flow of continuous data, received one with dequantize: whole values carry no gradients. "
            "Use sample_and_log_prob."
        )
    flow._event()  # raises if it is not built
    if not ops.is_tensor(n):  # TensorFlow's steps do not know the size of a batch beforehand
        n = whole_number(n, "n", least=1)
    if context is None or context_kind(flow) == "none":
        return drawn_with_score(flow, n, None, seed)
    seen = flow.embed(tree.map_structure(ops.convert_to_tensor, context))
    each = ops.shape(tree.flatten(seen)[0])[0]
    x, log_q = drawn_with_score(flow, n * each, tree.map_structure(lambda c: _repeated(c, n), seen), seed)
    return ops.reshape(x, (n, each, *x.shape[1:])), ops.reshape(log_q, (n, each))


def drawn_with_score(flow: Any, rows: Any, seen: Any, seed: Any = None) -> tuple[Any, Any]:
    """Return (x, log q(x)) for as many rows, given what the parts of the flow receive of the context."""
    seed = _Following(seed) if isinstance(seed, int) else seed
    seed = flow.sampler if seed is None else seed
    event = (None, *flow._event())
    latent = as_tuple(flow.bijector.compute_output_shape(event))[1:]
    z = flow.base.sample((rows, *latent), seed=seed, context=seen)
    noise = drawn(flow.bijector.noise_needs(event, inverse=True), rows, flow.compute_dtype, seed)
    return flow._invert_and_score(z, seen, **given(noise))


class _Following(keras.random.SeedGenerator):
    """The seeds that follow from a whole number, as from Keras's own, without the variable that it makes.

    TensorFlow makes no variables in traced steps.
    """

    def __init__(self, number: int) -> None:
        self._number, self._given = number, 0

    def next(self, ordered: bool = True) -> Any:
        self._given += 1
        return ops.convert_to_tensor([self._number, self._given - 1], dtype="uint32")


def _repeated(rows, n):
    return rows if isinstance(n, int) and n == 1 else ops.tile(rows, (n, *(1,) * (len(rows.shape) - 1)))
