"""Samples and latents of a fitted flow: answered in numpy, batch by batch."""

import contextlib
import math
from typing import Any

import numpy as np
from keras import ops, tree

from flowkit import distributed
from flowkit.bijectors.levels import per_latent
from flowkit.contract.arguments import whole_number
from flowkit.contract.shapes import as_tuple
from flowkit.distributed.failed import failing_together
from flowkit.flow.context import check_context
from flowkit.flow.densities import Densities
from flowkit.flow.dequantizing import undithered
from flowkit.flow.drawing import Entropy, Latents, Repeated, entropy
from flowkit.flow.in_a_group import check_same_question, mine_of
from flowkit.flow.in_batches import count, run_in_batches
from flowkit.flow.inputs import real_numbers
from flowkit.flow.noise import counted_for
from flowkit.flow.round_trip import look_at, one_check, relative_error, warn_of_overflow
from flowkit.flow.turns import answers


class Inference(Densities):
    """The part of `flowkit.Flow` that answers with samples and latents, as numpy arrays."""

    @answers
    def sample(
        self,
        n: int,
        context: Any = None,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int | None = None,
        check: str | bool = "warn",
        spread: bool = False,
    ) -> Any:
        """`n` draws, numpy (n, *event); for a context of b rows (n, b, *event). uint8 with `dequantize`.

        A flow that was fitted on a frame draws a frame of the same columns, if there is no context.
        `temperature` multiplies the standard deviation of the latents; of a multi-scale flow it may be one
        number for each level. The same seed on the same engine gives the same samples, whatever the batch size.
        `check`: as for `encode`.

        `spread=True` shares the work in a group of processes (`flowkit.distributed`), and changes nothing without one.
        All of them call it with the same arguments, at the same time; each decodes its part of the rows, and all get
        all rows. They are those of one process but for rounding, since networks round by how many rows they are given.
        Without a seed all draw from the main process's. Each looks at what `check` says: "raise" takes as long as
        without `spread`. Raises ValueError, in all, if they do not come with the same. Whatever else one of them
        raises, for a refused argument or in decoding, is a `flowkit.distributed.ProcessFailed` in the others.
        """
        with failing_together() if spread else contextlib.nullcontext():
            one_check(check)
            z, context, lead = self._draw(n, context, temperature, seed, batch_size, spread, check)
            x = self._decode(z, context, batch_size, check, z.seed, spread)
        return self._as_frame(x.reshape(*lead, *x.shape[1:]))

    @answers
    def sample_and_log_prob(
        self,
        n: int,
        context: Any = None,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int | None = None,
        check: str | bool = "warn",
    ) -> tuple[Any, np.ndarray]:
        """(samples, log_prob(samples)), the second of shape (n,) or (n, b): the density is the model's own,
        whatever the temperature."""
        one_check(check)
        z, context, lead = self._draw(n, context, temperature, seed, batch_size)
        if self.exact != "exact" or self.bijector.forgets(inverse=False):
            x = self._decode(z, context, batch_size, check, z.seed)
            log_prob = self._scored_densities(x, context, batch_size, seed=0)
        else:

            def draw(start, stop, piece):
                noise = counted_for(self, piece[0].shape, start, inverse=True, seed=z.seed)
                return self._run(self._invert_and_score, *piece, noise)

            x, log_prob = run_in_batches(draw, (z, context), len(z), self._batch_size(batch_size))
            warn_of_overflow(np.isfinite(x).all(axis=tuple(range(1, x.ndim))), stacklevel=3)
            look_at(self, x, context, check, batch_size, stacklevel=3)
        return self._as_frame(x.reshape(*lead, *x.shape[1:])), log_prob.reshape(lead)

    @answers
    def encode(
        self,
        x: Any,
        context: Any = None,
        *,
        batch_size: int | None = None,
        check: str | bool = "warn",
        seed: int = 0,
    ) -> np.ndarray:
        """The latents of `x`, numpy; whole values are taken at the middle of their bins, without noise.

        Other noise that the flow needs follows from `seed` and a row's index, as in `log_prob`.

        `check` says what happens to data that do not come back, those whose `round_trip_error` is above 1e-3:

        - "warn" looks at a few rows, those farthest out among them, and warns;
        - "raise" looks at all, which takes two to three times as long, and raises ContractError;
        - None does not look.
        """
        one_check(check)
        x, context = self._prepare(x, context, batch_size)

        def forward(start, stop, piece):
            x, context = piece
            y = undithered(self, x)
            return self._run(
                self._forward, y, context, counted_for(self, y.shape, start, inverse=False, seed=seed)
            )

        z = run_in_batches(forward, (x, context), len(x), self._batch_size(batch_size))
        look_at(self, x, context, check, batch_size, stacklevel=3, z=z)
        return z

    @answers
    def decode(
        self,
        z: Any,
        context: Any = None,
        *,
        batch_size: int | None = None,
        check: str | bool = "warn",
        seed: int = 0,
    ) -> Any:
        """The data of latents `z`, numpy: uint8 with `dequantize`. `decode(encode(x))` is x; `check`: see `encode`.

        A flow that was fitted on a frame gives a frame.
        What the way back draws anew, after a surjection, follows from `seed` and a row's index.
        """
        if isinstance(z, list | tuple) and any(getattr(part, "ndim", 0) > 1 for part in z):
            raise ValueError(
                "decode expects flat latents (n, dim), received a list of maps. Of split_latents "
                "flow.bijector.join_latents(maps) makes them."
            )
        z = real_numbers(z, "latents").astype(self.compute_dtype, copy=False)
        context = self._ready(context, batch_size, rows=len(z))
        return self._as_frame(self._decode(z, context, batch_size, check, seed))

    @answers
    def round_trip_error(self, x: Any, context: Any = None, *, batch_size: int | None = None) -> np.ndarray:
        """How far f^-1(f(x)) is from x, as a part of the size of x: numpy (n,). Rounding, if the inverse is right.

        The largest difference of a row's entries, over its largest entry, or that of the median row if this is more.
        What takes uint8 starts at the middle of the bins.
        """
        x, context = self._prepare(x, context, batch_size)
        return relative_error(self, x, context, batch_size)

    def _decode(self, z, context, batch_size, check, seed, spread=False):
        one_check(check)
        first, mine = 0, (z, context)
        if spread:
            first, *mine = mine_of(z, context)
        count = len(mine[0])
        finite = np.ones(count, bool)

        def backward(start, stop, piece):
            noise = counted_for(self, piece[0].shape, first + start, inverse=True, seed=seed)
            y = ops.convert_to_numpy(self._run(self._backward, *piece, noise))
            finite[start:stop] = np.isfinite(y).all(axis=tuple(range(1, y.ndim)))[: count - start]
            return y if self.dequantize is None else self.dequantize.as_stored(y)

        x = run_in_batches(backward, tuple(mine), count, self._batch_size(batch_size))
        if spread:
            x, finite = distributed.gather(x), distributed.gather(finite)
        warn_of_overflow(finite, stacklevel=4)
        look_at(self, x, context, check, batch_size, stacklevel=4)
        return x

    def _as_frame(self, x):
        """A table as a frame, if the flow knows its columns."""
        return x if self.columns is None or x.ndim != 2 else self.columns.frame(x)

    def _forward(self, y, context, noise=None):
        return self._through(y, context, noise)[0]

    def _backward(self, z, context, noise=None):
        return self._through(z, context, noise, inverse=True)[0]

    def _invert_and_score(self, z, context, noise=None):
        x, log_det = self._through(z, context, noise, inverse=True)
        return x, self.base.log_prob(z, context=context) - log_det

    def _draw(self, n, context, temperature, seed, batch_size, spread=False, check=None):
        n = whole_number(n, "n", least=0)
        given, context = context, self._ready(context, batch_size)
        if spread and distributed.world() > 1:
            seed = self._agreed_seed(n, given, temperature, seed, check)
        lead: tuple[int, ...] = (n,)
        if context is not None:
            lead = (n, count(context))
            context = tree.map_structure(lambda c: Repeated(c, n), context)
        return self._latents(math.prod(lead), context, temperature, seed), context, lead

    def _agreed_seed(self, n, context, temperature, seed, check):
        """The seed of all processes; ValueError in all of them unless they have come with the same question."""
        given, seed = seed is not None, self._entropy(seed)
        told = {"n": n, "context": check_context(self, context), "temperature": temperature, "check": check}
        check_same_question({**told, "seed": seed if given else None})
        # Where a process has drawn alone, its own generator is elsewhere.
        return seed if given else Entropy(distributed.gather(np.array(seed, "uint64"))[: len(seed)].tolist())

    def _entropy(self, seed):
        with self.turns.drawing:
            return entropy(self.sampler if seed is None else seed)

    def _latents(self, count, context, temperature, seed):
        seed = self._entropy(seed)
        return Latents(
            self.base,
            count,
            as_tuple(self.bijector.compute_output_shape((None, *self._event())))[1:],
            seed=seed,
            temperature=per_latent(self.bijector, temperature),
            context=context,
        )
