"""Latents drawn block by block: as many as are wanted, in memory that does not grow with their number."""

import operator

import keras
import numpy as np
from keras import ops, tree

from flowkit.contract.arguments import shown
from flowkit.engines import engine
from flowkit.flow.in_batches import default_batch_size, one_of_few, padded

_SEEDS = 2**31  # what every engine takes as a seed


class Latents:
    """`count` draws of `base`, one event to a row, of which those are drawn that are sliced: numpy arrays.

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

    def __init__(self, base, count, event, *, seed, temperature=1.0, context=None):
        self.shape = (count, *event)
        self.dtype = np.dtype(base.compute_dtype)
        # Of what else is drawn.
        self.seed = int(np.random.SeedSequence([*seed]).generate_state(1, "uint64")[0])
        self._base, self._seed, self._temperature, self._context = base, list(seed), temperature, context
        self._rows = default_batch_size(int(np.prod(event)))
        self._last = None, None  # the block that was drawn last, and its number

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(len(self))
        blocks = range(start // self._rows, -(-stop // self._rows))
        pieces = []
        for number in blocks:
            first = number * self._rows
            pieces.append(self._block(number)[max(start - first, 0) : stop - first])
        return np.concatenate(pieces) if pieces else np.zeros((0, *self.shape[1:]), self.dtype)

    def __len__(self):
        return self.shape[0]

    def _block(self, number):
        if self._last[1] != number:
            first = number * self._rows
            count = min(self._rows, len(self) - first)
            drawn = min(
                self._rows, one_of_few(count)
            )  # more than asked for, so that few programs are compiled
            context = self._context
            if context is not None:
                rows = slice(first, first + count)
                context = tree.map_structure(
                    lambda c: ops.convert_to_tensor(padded(c[rows], drawn - count)), context
                )
            with engine.no_grad():
                z = engine.draw_alone(
                    lambda generator: self._base.sample(
                        (drawn, *self.shape[1:]),
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

    def __init__(self, rows, times):
        self._given = rows
        self.shape, self.dtype = (times * len(rows), *rows.shape[1:]), rows.dtype

    def __getitem__(self, rows):
        places = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        return self._given[places % max(1, len(self._given))]

    def __len__(self):
        return self.shape[0]


class Part:
    """Rows `first` to `stop` of what is sliced as an array is, and sliced so itself: they are found when asked for."""

    def __init__(self, rows, first, stop):
        self._rows, self._first = rows, first
        self.shape, self.dtype = (stop - first, *rows.shape[1:]), rows.dtype

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(len(self))
        return self._rows[self._first + start : self._first + stop]

    def __len__(self):
        return self.shape[0]


class Entropy(list):
    """The whole numbers that a seed has become."""


def entropy(seed):
    """`seed`, a whole number or a `SeedGenerator`, which moves on, as whole numbers from 0 up, an `Entropy`."""
    if isinstance(seed, Entropy):
        return seed
    if isinstance(seed, keras.random.SeedGenerator):
        state = ops.convert_to_numpy(seed.state)
        # As `next`, of which each step takes JAX 0.1 ms.
        seed.state.assign(state + np.array([0, 1], state.dtype))
        return Entropy(int(number) % 2**32 for number in state)
    try:
        return Entropy([operator.index(seed) % 2**64])
    except TypeError:
        raise ValueError(
            f"seed: expected a whole number or a SeedGenerator, received {shown(seed)}."
        ) from None


def _mixed(seed, number):
    """A seed for block `number`: neighbours have nothing in common, though engines add the draws' number to it."""
    return int(np.random.SeedSequence([*seed, number]).generate_state(1)[0] % _SEEDS)
