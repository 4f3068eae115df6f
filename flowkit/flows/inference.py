"""What a fitted flow is asked, densities, samples and latents: answered in numpy, batch by batch."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from flowkit import backends
from flowkit.bijectors.levels import per_latent
from flowkit.contract import Bijector, ContractError
from flowkit.contract.arguments import whole_number
from flowkit.contract.shapes import as_tuple, context_shape, event_size
from flowkit.data.dequantize import Dequantize, evaluation_noise
from flowkit.flows.drawing import Latents, Repeated, entropy
from flowkit.flows.in_batches import default_batch_size, run_in_batches
from flowkit.flows.inputs import check_context, check_finite, count
from flowkit.flows.round_trip import look_at, one_check, relative_error, warn_of_overflow
from flowkit.flows.turns import Turns, answers


class Inference(keras.Model):
    """The half of `flowkit.Flow` that uses a flow; the other half trains and saves it."""

    bijector: Bijector
    base: Any
    dequantize: Dequantize | None
    event_shape: tuple[int, ...] | None
    sampler: keras.random.SeedGenerator
    turns: Turns

    @property
    def num_classes(self):
        """How many classes the labels of a class-conditional flow may name; None for no labels."""
        classes = self.bijector.num_classes
        return getattr(self.base, "num_classes", None) if classes is None else classes

    # Densities

    def _log_density(self, y, context):
        return self._encode_and_score(y, context)[1]

    def _encode_and_score(self, y, context):
        z, log_det = self.bijector(y, context=context)
        log_prob = self.base.log_prob(z, context=context) + log_det
        if self.dequantize is not None:
            log_prob = log_prob + self.dequantize.log_volume(event_size(y.shape))
        return z, log_prob

    @answers
    def log_prob(self, x, context=None, *, batch_size=None, seed=0):
        """log p(x) in nats, numpy (batch,). With `dequantize`, a lower bound with one draw of noise.

        The noise of a sample follows from `seed` and its index alone, so neither the batch size nor the
        engine changes the answer.
        """
        return self._log_prob(x, context, batch_size, seed, draw=0)

    def _log_prob(self, x, context, batch_size, seed, draw):
        x, context = self._prepare(x, context)
        return self._scored(self._log_density, x, context, batch_size, seed, draw)

    def _scored(self, function, x, context, batch_size, seed, draw=0):
        """`function(y, context)` of the dequantised data, checked before, in batches, as numpy."""

        def score(start, stop, piece):
            x, context = piece
            y = self._dequantized(x, start, seed=seed, draw=draw)
            return self._run(function, y, context)

        return run_in_batches(score, (x, context), len(x), self._batch_size(batch_size))

    @answers
    def bits_per_dim(self, x, context=None, *, samples=1, batch_size=None, seed=0):
        """-log_prob / (D ln 2) for each sample, numpy (batch,): bits for each dimension as stored.

        `samples` = k > 1 draws of dequantisation noise give the tighter bound
        log (1/k) sum_i p(x + u_i) (Burda, Grosse & Salakhutdinov, 2016). Raises ValueError for k > 1 without
        `dequantize`.
        """
        if whole_number(samples, "samples", least=1) > 1 and self.dequantize is None:
            raise ValueError(
                f"bits_per_dim expects samples=1 for a flow without dequantize, received {samples}: its "
                "log_prob is exact."
            )
        draws = [self._log_prob(x, context, batch_size, seed, draw) for draw in range(samples)]
        log_prob = np.logaddexp.reduce(np.asarray(draws, np.float64), axis=0) - math.log(samples)
        return -log_prob / (math.prod(np.shape(x)[1:]) * math.log(2))

    # Samples and latents

    @answers
    def sample(self, n, context=None, *, temperature=1.0, seed=None, batch_size=None, check="warn"):
        """`n` draws, numpy (n, *event); for a context of b rows (n, b, *event). uint8 with `dequantize`.

        `temperature` multiplies the standard deviation of the latents; of a multi-scale flow it may be one
        number for each level. The same seed on the same engine gives the same samples, whatever the batch size.
        `check`: as for `encode`.
        """
        z, context, lead = self._draw(n, context, temperature, seed)
        x = self._decode(z, context, batch_size, check)
        return x.reshape(*lead, *x.shape[1:])

    @answers
    def sample_and_log_prob(
        self, n, context=None, *, temperature=1.0, seed=None, batch_size=None, check="warn"
    ):
        """(samples, log_prob(samples)), the second of shape (n,) or (n, b): the density is the model's own,
        whatever the temperature."""
        one_check(check)
        z, context, lead = self._draw(n, context, temperature, seed)
        if self.dequantize is not None:
            x = self._decode(z, context, batch_size, check)
            log_prob = self._scored(self._log_density, x, context, batch_size, seed=0)
        else:

            def draw(start, stop, piece):
                return self._run(self._invert_and_score, *piece)

            x, log_prob = run_in_batches(draw, (z, context), len(z), self._batch_size(batch_size))
            warn_of_overflow(np.isfinite(x).all(axis=tuple(range(1, x.ndim))), stacklevel=3)
            look_at(self, x, context, check, batch_size, stacklevel=3)
        return x.reshape(*lead, *x.shape[1:]), log_prob.reshape(lead)

    @answers
    def encode(self, x, context=None, *, batch_size=None, check="warn"):
        """The latents of `x`, numpy; whole values are taken at the middle of their bins, without noise.

        `check` says what happens to data that do not come back, where `round_trip_error` is above 1e-3:

        - "warn" looks at a few rows, those farthest out among them, and warns;
        - "raise" looks at all, which takes two to three times as long, and raises ContractError;
        - None does not look.
        """
        one_check(check)
        x, context = self._prepare(x, context)

        def forward(start, stop, piece):
            x, context = piece
            return self._run(self._forward, self._undithered(x), context)

        z = run_in_batches(forward, (x, context), len(x), self._batch_size(batch_size))
        look_at(self, x, context, check, batch_size, stacklevel=3, z=z)
        return z

    @answers
    def decode(self, z, context=None, *, batch_size=None, check="warn"):
        """The data of latents `z`, numpy: uint8 with `dequantize`. `decode(encode(x))` is x; `check`: see `encode`."""
        return self._decode(np.asarray(z, self.compute_dtype), self._ready(context), batch_size, check)

    @answers
    def round_trip_error(self, x, context=None, *, batch_size=None):
        """How far f^-1(f(x)) is from x, as a part of the size of x: numpy (n,). Rounding, if the inverse is right.

        The largest difference of a row's entries, over its largest entry, or that of the median row where this is more.
        What takes uint8 starts at the middle of the bins.
        """
        x, context = self._prepare(x, context)
        return relative_error(self, x, context, batch_size)

    def _round_trip_difference(self, x, context, z, batch_size):
        def there_and_back(start, stop, piece):
            x, context, z = piece
            y = self._undithered(x)
            z = self._run(self._forward, y, context) if z is None else z
            back = self._run(self._backward, z, context)
            difference = np.abs(ops.convert_to_numpy(back).astype("float64") - y)
            return difference.reshape(len(y), -1).max(axis=1)

        return run_in_batches(there_and_back, (x, context, z), len(x), self._batch_size(batch_size))

    def _decode(self, z, context, batch_size, check):
        one_check(check)
        finite = np.ones(len(z), bool)

        def backward(start, stop, piece):
            y = ops.convert_to_numpy(self._run(self._backward, *piece))
            finite[start:stop] = np.isfinite(y).all(axis=tuple(range(1, y.ndim)))[: len(z) - start]
            return y if self.dequantize is None else self.dequantize.as_stored(y)

        x = run_in_batches(backward, (z, context), len(z), self._batch_size(batch_size))
        warn_of_overflow(finite, stacklevel=4)
        look_at(self, x, context, check, batch_size, stacklevel=4)
        return x

    def _forward(self, y, context):
        return self.bijector(y, context=context)[0]

    def _backward(self, z, context):
        return self.bijector.inverse(z, context=context)[0]

    def _invert_and_score(self, z, context):
        x, log_det = self.bijector.inverse(z, context=context)
        return x, self.base.log_prob(z, context=context) - log_det

    def _draw(self, n, context, temperature, seed):
        n = whole_number(n, "n", least=0)
        context = self._ready(context)
        lead: tuple[int, ...] = (n,)
        if context is not None:
            lead = (n, count(context))
            context = tree.map_structure(lambda c: Repeated(c, n), context)
        return self._latents(math.prod(lead), context, temperature, seed), context, lead

    def _latents(self, count, context, temperature, seed):
        with self.turns.drawing:
            seed = entropy(self.sampler if seed is None else seed)
        return Latents(
            self.base,
            count,
            as_tuple(self.bijector.compute_output_shape((None, *self._event())))[1:],
            seed=seed,
            temperature=per_latent(self.bijector, temperature),
            context=context,
        )

    # What stands behind each answer

    def _run(self, function, *args):
        tensors = [tree.map_structure(ops.convert_to_tensor, a) if a is not None else None for a in args]
        return self._compiled_function(function)(*tensors)

    @functools.cached_property
    def _compiled_function(self) -> Callable:
        """The compiled function of a function, the last few of which are kept.

        A bound method is the same each time that it is asked for; a closure is not, and may have closed over
        something else.
        """
        return functools.lru_cache(maxsize=32)(lambda function: backends.compile_inference(function, self))

    def _dequantized(self, x, start=0, *, seed=0, draw=0):
        """Continuous values of samples `start` and following, each with the noise that its index gives."""
        if self.dequantize is None:
            return x
        noise = evaluation_noise(start, start + len(x), x.shape[1:], seed=seed, draw=draw)
        return _with_noise(self.dequantize, x, noise)

    def _undithered(self, x):
        """Continuous values in the middle of the bins of `x`."""
        if self.dequantize is None:
            return x
        return _with_noise(self.dequantize, x, np.full(x.shape, 0.5, "float32"))

    def _batch_size(self, given):
        if given is None:
            return default_batch_size(math.prod(self._event()))
        return whole_number(given, "batch_size", least=1)

    def _event(self):
        if self.event_shape is None:
            raise ContractError(
                "event shape",
                self,
                expected="to know the size of the data",
                received="a call before any data",
                hint="Call .build((None, d)), or .build((None, height, width, channels)) for images, .adapt(batch) or "
                ".fit(data) first.",
            )
        return self.event_shape

    def _build_on(self, x, context):
        if not self.built:
            shape = (None, *x.shape[1:])
            self.build(shape if context is None else {"x": shape, "context": context_shape(context)})

    def _prepare(self, x, context):
        """Checked data and context for a flow that is built and adapted."""
        x, context = self._check(x, context)
        self._build_on(x, context)
        return x, self._ready(context)

    def _ready(self, context):
        """Checked context, where the flow is built and adapted."""
        self._check_adapted()
        return check_context(self, context)

    def _check_adapted(self):
        self._event()
        backends.settle(self)
        if not self.bijector._checked_adapted:
            self.bijector._checked_adapted = self.bijector._check_adapted()

    def _check(self, x, context):
        dequantize = self.dequantize
        x = check_finite(x, self.compute_dtype) if dequantize is None else dequantize.validate(x)
        self.bijector._check_shape(x.shape)
        return x, check_context(self, context, len(x))


def _with_noise(dequantize, x, noise):
    with backends.no_grad():
        return ops.convert_to_numpy(dequantize(x, noise=noise))
