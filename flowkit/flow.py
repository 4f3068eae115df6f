"""The model: a bijector and the base density of its latents."""

import math
import warnings

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.contract import Bijector
from flowkit.contract.precision import full_precision
from flowkit.contract.shapes import event_size, plain
from flowkit.data.batch_order import Batches
from flowkit.data.dequantize import Dequantize
from flowkit.distributions import Normal
from flowkit.inference import Inference
from flowkit.inputs import (
    is_array,
    pack,
    peek,
    plain_shape,
    rows,
    unpack,
)
from flowkit.metrics import MeanOfCounted
from flowkit.saving import engine_neutral, refuse_shared


@keras.saving.register_keras_serializable("flowkit")
class Flow(Inference):
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
        self.nll = MeanOfCounted(name="nll")
        self.bits = MeanOfCounted(name="bits_per_dim")
        self._scoring = False  # inside `evaluate`

    # What Keras calls

    def build(self, input_shape):
        """Make the weights for data of shape (None, *event), or {"x": shape, "context": shape}."""
        x_shape, c_shape = unpack(input_shape)
        self.bijector._check_shape(plain(x_shape))
        self.bijector.build_for(plain(x_shape), plain_shape(c_shape))
        self.event_shape = plain(x_shape)[1:]
        if not self.base.built:  # Keras traces the model anew before each batch while a layer is not built
            self.base.build(plain(self.bijector.compute_output_shape(plain(x_shape))))
        self.built = True

    def call(self, inputs, training=None):
        """log_prob in nats, (batch,): dequantisation noise is drawn anew at each call."""
        x, context = unpack(inputs)
        if self.dequantize is not None:
            x = self.dequantize(x)
        with backends.compiling_parts(when=self.jit_compile):
            return self._log_density(x, context)

    def _should_torch_compile(self):
        """False where Keras asks: chains compile their parts, each kind once, where a step would take ever longer."""
        chains = [layer for layer in self._flatten_layers() if hasattr(layer, "parts")]
        if self.jit_compile and any(getattr(chain, "backprop", "stored") != "stored" for chain in chains):
            warnings.warn(
                "jit_compile=True: on PyTorch a chain with backprop='recompute' or 'reversible' runs eagerly all the "
                "same. Use backprop='stored' to have it compiled, or leave jit_compile out.",
                stacklevel=2,
            )
        return super()._should_torch_compile() and not chains

    def compute_output_shape(self, input_shape):
        """(batch,), the shape of log_prob."""
        return (unpack(input_shape)[0][0],)

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
        # A training step that is not finite does not count where it is not taken (flowkit.training.guard).
        skipped = not self._scoring and getattr(
            getattr(self, "optimizer", None), "skips_what_is_not_finite", False
        )
        counts = ops.isfinite(values) if skipped else ops.ones_like(values, dtype="bool")
        weight = ops.cast(counts, values.dtype)
        return counts, weight if sample_weight is None else weight * ops.cast(sample_weight, values.dtype)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        *,
        context=None,
        validation_data=None,
        sample_weight=None,
        class_weight=None,
        **kwargs,
    ):
        """Keras's `fit`, with `context=` for arrays; adapts to the first batch where that is not done yet.

        `x` is an array or any dataset that Keras takes; a dataset with context yields
        `({"x": ..., "context": ...},)`. `y`, the labels of `fit(images, labels)`, is another name for the
        context, ignored by a flow that takes none. `validation_data` is x, or (x, context), or (x, context,
        sample_weight). Of data sets the first batch is checked, as arrays are.
        """
        if class_weight is not None:
            raise ValueError(
                "Flow.fit has no classes to weigh: pass sample_weight=, one number for each sample."
            )
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
            y = _target(len(x), sample_weight)
            size = batch_size or 32  # Keras's default
            first, x = (x[:size], rows(context, size)), pack(x, context)
        else:
            if isinstance(x, Batches):
                kwargs["shuffle"] = False  # its own order is what can be resumed
            first, x = self._peek(x)
        if validation_data is not None:
            validation_data = self._check_validation(validation_data)
        if not self.built or not self.bijector.adapted:
            self.adapt(*first, again=False)
        if self.compiled:
            backends.use_multi_tensor(self.optimizer)
        return super().fit(
            x,
            y,
            batch_size,
            epochs,
            validation_data=validation_data,
            sample_weight=sample_weight,
            **kwargs,
        )

    def evaluate(self, x=None, y=None, batch_size=None, *, context=None, sample_weight=None, **kwargs):
        """Keras's `evaluate`, with `context=` for arrays; `x` and `y` are those of `fit`.

        Raises ContractError for a flow that still waits for `adapt`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # with which `fit` comes, whose data are checked
            if isinstance(x, dict):
                x, context = unpack(x)
            if is_array(x):
                x = pack(x, y if context is None else context)
                y = _target(len(unpack(x)[0]), sample_weight)
            x = self._ready_on(x)
        self._scoring = True
        try:
            return super().evaluate(x, y, batch_size, sample_weight=sample_weight, **kwargs)
        finally:
            self._scoring = False

    def predict(self, x, *args, **kwargs):
        """Keras's `predict`: log_prob of data, or of a data set. `log_prob` draws its noise by the seed."""
        return super().predict(self._ready_on(x), *args, **kwargs)

    # One batch at a time, where Keras checks nothing and a traced step cannot ask whether the flow is adapted

    def train_on_batch(self, x, *args, **kwargs):
        """Keras's `train_on_batch`. Raises ContractError for a flow that still waits for `adapt`."""
        return super().train_on_batch(self._ready_on(x), *args, **kwargs)

    def test_on_batch(self, x, *args, **kwargs):
        """Keras's `test_on_batch`. Raises ContractError for a flow that still waits for `adapt`."""
        return super().test_on_batch(self._ready_on(x), *args, **kwargs)

    def predict_on_batch(self, x):
        """Keras's `predict_on_batch`. Raises ContractError for a flow that still waits for `adapt`."""
        return super().predict_on_batch(self._ready_on(x))

    # Data-dependent initialisation

    def adapt(self, x, context=None, *, again=True):
        """Set what depends on data (each ActNorm's statistics) from the batch `x`. Returns `self`.

        `fit` does it with its first batch, for parts that still need it (`again=False`); a larger batch
        gives better statistics (256 for Glow).
        """
        x, context = self._check(x, context)
        y = self._dequantized(x)
        self._build_on(x, context)
        with backends.no_grad():
            self.bijector.adapt(y, context=context, again=again)
        return self

    # Manners

    def _ready_on(self, data):
        """`data`, arrays or a data set, as if untouched: checked, and the flow adapted and built for them.

        An engine that traces a step cannot ask there whether the flow is adapted.
        """
        x, context = unpack(data)
        if is_array(x):
            x, context = self._check(x, context)
            data = pack(x, context)
        else:
            (x, context), data = self._peek(data)
        self._build_on(x, context)
        self._check_adapted()
        return data

    def _peek(self, dataset):
        """The first batch's x and context, checked, and the data set as if untouched."""
        (x, context), dataset = peek(dataset)
        return self._check(x, context), dataset

    def _check_loss_scaling(self):
        # Keras scales the loss of a model in float16; this one is in float32, and its networks may not be.
        policies = {layer.dtype_policy.name for layer in self._flatten_layers()}
        scaled = isinstance(getattr(self, "optimizer", None), keras.optimizers.LossScaleOptimizer)
        if "mixed_float16" in policies and not scaled:
            raise ValueError(
                "Flow expects networks in float16 to be trained with keras.optimizers.LossScaleOptimizer(optimizer), "
                "since their gradients underflow; mixed_bfloat16 needs none."
            )

    def _check_validation(self, data):
        if is_array(data):
            return pack(*self._check(data, None))
        if isinstance(data, tuple | list) and all(part is None or is_array(part) for part in data):
            x, context, weights = (*data, None, None)[:3]
            return pack(*self._check(x, context)), _target(len(x), weights), weights
        return self._peek(data)[1]

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
