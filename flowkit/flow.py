"""The model: a bijector and the base density of its latents."""

import math
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from flowkit import backends
from flowkit.contract import Bijector, ContractError
from flowkit.contract.precision import full_precision
from flowkit.contract.shapes import context_shape, event_size, plain
from flowkit.data.batch_order import Batches
from flowkit.data.dequantize import Dequantize, evaluation_noise
from flowkit.data.validate import whole_number
from flowkit.distributions import Normal
from flowkit.inference import default_batch_size, run_in_batches
from flowkit.inputs import (
    check_context,
    check_finite,
    count,
    is_array,
    pack,
    peek,
    plain_shape,
    rows,
    unpack,
)
from flowkit.levels import spread
from flowkit.saving import engine_neutral, refuse_shared


@keras.saving.register_keras_serializable("flowkit")
class Flow(keras.Model):
    """log p(x) = log p_base(f(x)) + log|det df/dx|, for a bijector f from data to latents.

    A `keras.Model`: `compile`, `fit`, `evaluate`, callbacks, `save` are Keras's; the loss is the mean of
    -log_prob. Called on data (or `{"x": ..., "context": ...}`) it returns log_prob as a tensor that
    carries gradients; its methods return numpy arrays and keep no gradients.

    - `base`: the density of the latents; None is the standard normal.
    - `dequantize`: a `flowkit.data.Dequantize` where the data are whole values such as uint8 images;
      log_prob is then a lower bound of the log-probability of the image as stored.

    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> round(float(flow.log_prob(np.zeros((1, 2)))[0]), 4)  # -ln(2 pi)
    -1.8379
    """

    def __init__(self, bijector, base=None, *, dequantize=None, dtype=None, **kwargs):
        if not isinstance(bijector, Bijector):
            raise TypeError(f"Flow expects a bijector, received {bijector!r}.")
        refuse_shared(bijector)
        super().__init__(dtype=full_precision(dtype), **kwargs)
        self.bijector = bijector
        self.base = Normal(dtype=self.compute_dtype) if base is None else base
        self.dequantize: Dequantize | None = dequantize
        self.event_shape: tuple[int, ...] | None = None
        self.sampler = keras.random.SeedGenerator()
        self.nll = keras.metrics.Mean(name="nll")
        self.bits = keras.metrics.Mean(name="bits_per_dim")
        self._compiled_runs: dict[str, Any] = {}
        self._scoring = False  # inside `evaluate`

    @property
    def num_classes(self):
        """How many classes the labels of a class-conditional flow may name; None for no labels."""
        return self.bijector.num_classes

    # What Keras calls

    def build(self, input_shape):
        """Make the weights for data of shape (None, *event), or {"x": shape, "context": shape}."""
        x_shape, c_shape = unpack(input_shape)
        self.bijector._check_shape(plain(x_shape))
        self.bijector.build_for(plain(x_shape), plain_shape(c_shape))
        self.event_shape = plain(x_shape)[1:]
        self.built = True

    def call(self, inputs, training=None):
        """log_prob in nats, (batch,): dequantisation noise is drawn anew at each call."""
        x, context = unpack(inputs)
        if self.dequantize is not None:
            x = self.dequantize(x)
        return self._log_density(x, context)

    def compute_output_shape(self, input_shape):
        """(batch,), the shape of log_prob."""
        return (unpack(input_shape)[0][0],)

    def _log_density(self, y, context):
        return self._encode_and_score(y, context)[1]

    def _encode_and_score(self, y, context):
        z, log_det = self.bijector(y, context=context)
        log_prob = self.base.log_prob(z, context=context) + log_det
        if self.dequantize is not None:
            log_prob = log_prob + self.dequantize.log_volume(event_size(y.shape))
        return z, log_prob

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean of -log_prob in nats (weighted where weights are given), plus the layers' own losses."""
        nll = -y_pred if sample_weight is None else -y_pred * ops.cast(sample_weight, y_pred.dtype)
        loss = ops.mean(nll)
        for extra in self.losses:
            loss = loss + extra
        return backends.replica_share(loss)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        data, _ = unpack(x)
        counts, weight = self._counted(y_pred, sample_weight)
        nll = ops.where(counts, -y_pred, ops.zeros_like(y_pred))
        self.nll.update_state(nll, sample_weight=weight)
        size = event_size(data.shape)
        self.bits.update_state(nll / (size * math.log(2)), sample_weight=weight)
        return self.get_metrics_result()

    def _counted(self, values, sample_weight):
        """Which of the values (batch,) count in a mean, and with what weight."""
        # A training step that is not finite is not taken (flowkit.training.guard), and does not count here
        # either; data that are scored all count.
        counts = ops.ones_like(values, dtype="bool") if self._scoring else ops.isfinite(values)
        weight = ops.cast(counts, values.dtype)
        return counts, weight if sample_weight is None else weight * ops.cast(sample_weight, values.dtype)

    def fit(self, x=None, y=None, *args, context=None, validation_data=None, **kwargs):
        """Keras's `fit`, with `context=` for arrays; adapts to the first batch where that is not done yet.

        `x` is an array or any dataset that Keras takes; a dataset with context yields
        `({"x": ..., "context": ...},)`. `y`, the labels of `fit(images, labels)`, is another name for the
        context, ignored by a flow that takes none. `validation_data` is x, or (x, context), or (x, context,
        sample_weight).
        """
        if not backends.SUPPORTS_TRAINING:
            raise NotImplementedError(
                f"Keras's {backends.name()} engine computes no gradients and cannot fit: set KERAS_BACKEND "
                f"to one of {', '.join(backends.ENGINES)}."
            )
        self._check_loss_scaling()
        if isinstance(x, dict):
            x, context = unpack(x)
        if is_array(x):
            x, context = self._check(x, y if context is None else context)
            y = _target(len(x), kwargs.get("sample_weight"))
            size = kwargs.get("batch_size") or 32  # Keras's default
            first, x = (x[:size], rows(context, size)), pack(x, context)
        else:
            if isinstance(x, Batches):
                kwargs["shuffle"] = False  # its own order is what can be resumed
            first, x = peek(x)
        if validation_data is not None:
            validation_data = self._check_validation(validation_data)
        if not self.built or not self.bijector.adapted:
            self.adapt(*first, again=False)
        with backends.static_shapes(when=self.jit_compile):
            return super().fit(x, y, *args, validation_data=validation_data, **kwargs)

    def evaluate(self, x=None, y=None, *args, context=None, **kwargs):
        """Keras's `evaluate`, with `context=` for arrays; `x` and `y` are those of `fit`.

        Raises ContractError for a flow that still waits for `adapt`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # with which `fit` comes, whose data are checked
            if isinstance(x, dict):
                x, context = unpack(x)
            if is_array(x):
                x, context = self._check(x, y if context is None else context)
                y, x = _target(len(x), kwargs.get("sample_weight")), pack(x, context)
            x = self._ready_on(x)
        self._scoring = True
        try:
            with backends.static_shapes(when=self.jit_compile):
                return super().evaluate(x, y, *args, **kwargs)
        finally:
            self._scoring = False

    def predict(self, x, *args, **kwargs):
        """Keras's `predict`: log_prob of data, or of a data set. `log_prob` draws its noise by the seed."""
        return super().predict(self._ready_on(x), *args, **kwargs)

    # Data-dependent initialisation

    def adapt(self, x, context=None, *, again=True):
        """Set what depends on data (each ActNorm's statistics) from the batch `x`. Returns `self`.

        `fit` does it with its first batch, for parts that still need it (`again=False`); a larger batch
        gives better statistics (256 for Glow).
        """
        x, context = self._check(x, context)
        y = self._dequantized(x, evaluation_noise(0, len(x), x.shape[1:]))
        self._build_on(x, context)
        with backends.no_grad():
            self.bijector.adapt(y, context=context, again=again)
        return self

    # Densities

    def log_prob(self, x, context=None, *, batch_size=None, seed=0):
        """log p(x) in nats, numpy (batch,). With `dequantize`, a lower bound with one draw of noise.

        The noise of a sample follows from `seed` and its index alone, so neither the batch size nor the
        engine changes the answer.
        """
        return self._log_prob(x, context, batch_size, seed, draw=0)

    def _log_prob(self, x, context, batch_size, seed, draw):
        return self._scored("log_density", self._log_density, x, context, batch_size, seed, draw)

    def _scored(self, name, function, x, context, batch_size, seed, draw=0):
        """`function(y, context)` of the dequantised data, in batches, as numpy."""
        x, context = self._prepare(x, context)

        def score(start, stop, piece):
            x, context = piece
            y = self._dequantized(x, evaluation_noise(start, stop, x.shape[1:], seed=seed, draw=draw))
            return self._run(name, function, y, context)

        return run_in_batches(score, (x, context), len(x), self._batch_size(batch_size))

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

    def sample(self, n, context=None, *, temperature=1.0, seed=None, batch_size=None):
        """`n` draws, numpy (n, *event); for a context of b rows (n, b, *event). uint8 with `dequantize`.

        `temperature` multiplies the standard deviation of the latents; of a multi-scale flow it may be one
        number for each level. The same seed on the same engine gives the same samples, whatever the batch size.
        """
        z, context, lead = self._draw(n, context, temperature, seed)
        x = self.decode(z, context, batch_size=batch_size)
        return x.reshape(*lead, *x.shape[1:])

    def sample_and_log_prob(self, n, context=None, *, temperature=1.0, seed=None, batch_size=None):
        """(samples, log_prob(samples)), the second of shape (n,) or (n, b): the density is the model's own,
        whatever the temperature."""
        z, context, lead = self._draw(n, context, temperature, seed)
        if self.dequantize is not None:
            x = self.decode(z, context, batch_size=batch_size)
            log_prob = self.log_prob(x, context, batch_size=batch_size)
        else:

            def draw(start, stop, piece):
                return self._run("invert_and_score", self._invert_and_score, *piece)

            x, log_prob = run_in_batches(draw, (z, context), len(z), self._batch_size(batch_size))
        return x.reshape(*lead, *x.shape[1:]), log_prob.reshape(lead)

    def encode(self, x, context=None, *, batch_size=None):
        """The latents of `x`, numpy; whole values are taken at the middle of their bins, without noise."""
        x, context = self._prepare(x, context)

        def forward(start, stop, piece):
            x, context = piece
            y = self._dequantized(x, np.full(x.shape, 0.5, "float32"))
            return self._run("forward", lambda y, c: self.bijector(y, context=c)[0], y, context)

        return run_in_batches(forward, (x, context), len(x), self._batch_size(batch_size))

    def decode(self, z, context=None, *, batch_size=None):
        """The data of latents `z`, numpy: uint8 with `dequantize`. `decode(encode(x))` is x."""
        z = np.asarray(z, self.compute_dtype)
        context = self._ready(context)

        def backward(start, stop, piece):
            return self._run("inverse", lambda z, c: self.bijector.inverse(z, context=c)[0], *piece)

        y = run_in_batches(backward, (z, context), len(z), self._batch_size(batch_size))
        lost = len(y) - int(np.isfinite(y).all(axis=tuple(range(1, y.ndim))).sum())
        if lost:
            warnings.warn(
                f"{lost} of {len(y)} samples overflowed on the way back: their latents lie "
                "where the flow has seen no data; lower the temperature, or move them less far",
                stacklevel=2,
            )
        return y if self.dequantize is None else self.dequantize.as_stored(y)

    def _invert_and_score(self, z, context):
        x, log_det = self.bijector.inverse(z, context=context)
        return x, self.base.log_prob(z, context=context) - log_det

    def _draw(self, n, context, temperature, seed):
        n = whole_number(n, "n", least=0)
        context = self._ready(context)
        lead: tuple[int, ...] = (n,)
        if context is not None:
            lead = (n, count(context))
            context = tree.map_structure(lambda c: np.tile(c, (n, *(1,) * (c.ndim - 1))), context)
        latent = plain(self.bijector.compute_output_shape((None, *self._event())))[1:]
        z = self.base.sample(
            (math.prod(lead), *latent),
            temperature=spread(self.bijector, temperature),
            seed=self.sampler if seed is None else seed,
            context=context,
        )
        return ops.convert_to_numpy(z), context, lead

    # Manners

    def _run(self, name, function, *args):
        if name not in self._compiled_runs:
            self._compiled_runs[name] = backends.compile_inference(function, self)
        tensors = [tree.map_structure(ops.convert_to_tensor, a) if a is not None else None for a in args]
        return self._compiled_runs[name](*tensors)

    def _dequantized(self, x, noise):
        if self.dequantize is None:
            return x
        with backends.no_grad():
            return ops.convert_to_numpy(self.dequantize(x, noise=noise))

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
                hint="Call .build((None, height, width, channels)), .adapt(batch) or .fit(data) first.",
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
        if not self.bijector._checked_adapted:
            self.bijector._checked_adapted = self.bijector._check_adapted()

    def _ready_on(self, data):
        """`data`, arrays or a data set, as if untouched, where the flow is adapted and then built for them.

        An engine that traces a step cannot ask there whether the flow is adapted.
        """
        if not self.built:
            x, context = unpack(data)
            if not is_array(x):
                (x, context), data = peek(data)
            self._build_on(x, context)
        self._check_adapted()
        return data

    def _check_loss_scaling(self):
        # Keras scales the loss of a model in float16; this one is in float32, and its networks may not be.
        policies = {layer.dtype_policy.name for layer in self._flatten_layers()}
        scaled = isinstance(getattr(self, "optimizer", None), keras.optimizers.LossScaleOptimizer)
        if "mixed_float16" in policies and not scaled:
            raise ValueError(
                "Flow expects networks in float16 to be trained with keras.optimizers.LossScaleOptimizer(optimizer), "
                "since their gradients underflow; mixed_bfloat16 needs none."
            )

    def _check(self, x, context):
        dequantize = self.dequantize
        x = check_finite(x, self.compute_dtype) if dequantize is None else dequantize.validate(x)
        self.bijector._check_shape(x.shape)
        return x, check_context(self, context, len(x))

    def _check_validation(self, data):
        if is_array(data):
            return pack(*self._check(data, None))
        if isinstance(data, tuple | list) and all(part is None or is_array(part) for part in data):
            x, context, weights = (*data, None, None)[:3]
            return pack(*self._check(x, context)), _target(len(x), weights), weights
        return data

    # Saving

    def get_config(self):
        store = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "bijector": store(self.bijector),
            "base": store(self.base),
            "dequantize": None if self.dequantize is None else store(self.dequantize),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            part: config[part] and keras.saving.deserialize_keras_object(config[part], custom_objects)
            for part in ("bijector", "base", "dequantize")
        }
        return cls(**config | parts)

    def get_compile_config(self):
        """Keras's own, with the optimizer's public class: on torch it would name one that only torch has."""
        config = super().get_compile_config()
        return config and engine_neutral(config)


def _target(count, sample_weight):
    """What Keras is given as the target: it drops weights that come without one. The loss does not look at it."""
    return None if sample_weight is None else np.zeros(count, "float32")
