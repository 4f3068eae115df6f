"""The model: a bijector and the base density of its latents."""

import math
import warnings
from pathlib import Path
from typing import Any, Self

import keras
from keras import ops

from flowkit import backends
from flowkit.contract import FlowLayer
from flowkit.contract.adaptation import is_adapted
from flowkit.contract.arguments import shown
from flowkit.contract.building import build_for
from flowkit.contract.noise import drawn, given
from flowkit.contract.precision import full_precision
from flowkit.contract.saving import built_late, engine_neutral, refuse_late, refuse_shared
from flowkit.contract.shapes import as_tuple, event_size
from flowkit.data.batch_order import Batches
from flowkit.data.dequantize import Dequantize
from flowkit.distributions import Normal
from flowkit.flows.adapting import adapt_parts
from flowkit.flows.before_training import check_training, with_first
from flowkit.flows.context import build_embedding, check_embedding, refuse_other_classes
from flowkit.flows.failed_step import FailedStep
from flowkit.flows.inference import Inference
from flowkit.flows.inputs import plain_shape, ready_on, to_fit_on, to_score_on, to_validate_on, unpack
from flowkit.flows.metrics import MeanOfCounted
from flowkit.flows.noise import counted_for, dequantized
from flowkit.flows.objective import refuse_other_losses, what_counts, without_other_losses
from flowkit.flows.same_bytes import make_reproducible
from flowkit.flows.turns import Turns, alone


@keras.saving.register_keras_serializable("flowkit")
class Flow(FailedStep, Inference):
    """log p(x) = log p_base(f(x)) + log|det df/dx|, for a bijector f from data to latents.

    A `keras.Model`: `compile`, `fit`, `evaluate`, callbacks, `save` are Keras's; the loss is the mean of
    -log_prob. Called on data (or `{"x": ..., "context": ...}`) it returns log_prob as a tensor that
    carries gradients; its methods return numpy arrays and keep no gradients.

    - `base`: the density of the latents; None is the standard normal.
    - `embedding`: a Keras layer or model that reads the context, once for each call; what it answers is the context
      of the bijector and the base. A context of several tensors, a dict, goes to one whose `call` takes the dict.
    - `dequantize`: a `flowkit.data.Dequantize` where the data are whole values such as uint8 images;
      log_prob is then a lower bound of the log-probability of the image as stored.

    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> round(float(flow.log_prob(ops.zeros((1, 2)))[0]), 4)  # -ln(2 pi)
    -1.8379
    """

    def __init__(
        self,
        bijector: FlowLayer,
        base: Any = None,
        *,
        embedding: Any = None,
        dequantize: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(bijector, FlowLayer):
            raise TypeError(f"Flow expects a bijector, received {bijector!r}.")
        if base is not None and not isinstance(base, keras.Layer):
            raise TypeError(
                f"Flow expects a base density, such as flowkit.distributions.StudentT(), received {shown(base)}."
            )
        refuse_shared(bijector)
        refuse_other_classes(bijector, base)
        check_embedding(embedding, bijector, base)
        super().__init__(dtype=full_precision(dtype), **kwargs)
        self.bijector = bijector
        self.base = Normal(dtype=self.compute_dtype) if base is None else base
        self.embedding = embedding
        self.dequantize: Dequantize | None = dequantize
        self.event_shape: tuple[int, ...] | None = None
        self.sampler = keras.random.SeedGenerator()
        self.turns = Turns()
        self.nll = MeanOfCounted(name="nll")
        self.bits = MeanOfCounted(name="bits_per_dim")
        self._late: frozenset[str] = frozenset()  # layers of the base that its `build` leaves unbuilt
        self._scoring = False  # inside `evaluate`

    # What Keras calls

    def build(self, input_shape: Any) -> None:
        """Make the weights for data of shape (None, *event), or {"x": shape, "context": shape}."""
        x_shape, c_shape = (plain_shape(shape) for shape in unpack(input_shape))
        self.bijector._check_shape(x_shape)
        if self.embedding is not None:
            c_shape = build_embedding(self, c_shape)
        self.bijector.build_for(x_shape, c_shape)
        self.event_shape = x_shape[1:]
        # Keras traces the model anew before each batch while a layer is not built.
        build_for(self.base, as_tuple(self.bijector.compute_output_shape(x_shape)), c_shape)
        self._late = built_late(self.base)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """log_prob in nats, (batch,): noise is drawn anew at each call."""
        x, context = unpack(inputs)
        context = self._embed(context)
        x, noise = self._drawn_for(x)
        self._refresh(x, context, noise, training)
        with backends.compiling_parts(when=self.jit_compile):
            return self._log_density(x, context, noise)

    def _drawn_for(self, x):
        """(continuous values, what else the bijector needs of noise) for a batch of data, from the flow's own state."""
        rows = ops.shape(x)[0]
        if self.dequantize is not None:
            needs = self.dequantize.noise_needs(x.shape, inverse=False)
            noise = drawn(needs, rows, self.dequantize.compute_dtype, self.dequantize.noise)
            x, _ = self.dequantize.run(x, None, False, noise)
        needs = self.bijector.noise_needs(as_tuple(x.shape), inverse=False)
        return x, drawn(needs, rows, self.compute_dtype, self.sampler)

    def _refresh(self, x, context, noise, training):
        """Once in a training step: what the bijector refreshes."""
        if training and self.bijector.refreshes:
            self.bijector.run_refresh(ops.stop_gradient(x), context, **given(noise))

    def _should_torch_compile(self):
        """False, when Keras asks: chains compile their parts, each kind once, where a step would take ever longer."""
        chains = [layer for layer in self._flatten_layers() if getattr(layer, "composite", False)]
        if self.jit_compile and any(getattr(chain, "backprop", "stored") != "stored" for chain in chains):
            warnings.warn(
                "jit_compile=True: on PyTorch a chain with backprop='recompute' or 'reversible' runs eagerly all the "
                "same. Use backprop='stored' to have it compiled, or leave jit_compile out.",
                stacklevel=2,
            )
        return super()._should_torch_compile() and not chains

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch,), the shape of log_prob."""
        return (unpack(input_shape)[0][0],)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The mean of -log_prob in nats (weighted where weights are given), plus the layers' own losses."""
        nll = -y_pred if sample_weight is None else -y_pred * ops.cast(sample_weight, y_pred.dtype)
        loss = ops.mean(nll)
        for extra in self.losses:
            loss = loss + extra
        return backends.replica_share(loss)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        data, _ = unpack(x)
        counts, weight = what_counts(self, y_pred, sample_weight)
        nll = ops.where(counts, -y_pred, ops.zeros_like(y_pred))
        self.nll.update_state(nll, sample_weight=weight)
        size = event_size(data.shape)
        self.bits.update_state(nll / (size * math.log(2)), sample_weight=weight)
        return self.get_metrics_result()

    def compile(self, optimizer: str = "rmsprop", loss: Any = None, **options: Any) -> None:
        """Keras's `compile`, for the negative log-likelihood. Raises ValueError for another loss, and for metrics."""
        refuse_other_losses(self, {"loss": loss, **options})
        super().compile(optimizer, **options)

    @alone
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        context: Any = None,
        validation_data: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
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
        check_training(self)
        if isinstance(x, Batches):
            kwargs["shuffle"] = False  # its own order is what can be resumed
            kwargs["callbacks"] = with_first(x.for_fit(), kwargs.get("callbacks"))
        first, x, y = to_fit_on(
            self, x, y, context, sample_weight, batch_size, kwargs.get("validation_split", 0.0)
        )
        if validation_data is not None:
            size = kwargs.get("validation_batch_size") or batch_size
            validation_data = to_validate_on(self, validation_data, size)
        if not self.built or not is_adapted(self):
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

    @alone
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *,
        context: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Keras's `evaluate`, with `context=` for arrays; `x` and `y` are those of `fit`.

        Raises ContractError for a flow that still waits for `adapt`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # with which `fit` comes, whose data are checked
            x, y = to_score_on(self, x, y, context, sample_weight)
            x = ready_on(self, x, batch_size)
        self._scoring = True
        try:
            return super().evaluate(x, y, batch_size, sample_weight=sample_weight, **kwargs)
        finally:
            self._scoring = False

    @alone
    def predict(self, x: Any, batch_size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Keras's `predict`: log_prob of data, or of a data set. `log_prob` draws its noise by the seed."""
        return super().predict(ready_on(self, x, batch_size), batch_size, *args, **kwargs)

    # One batch at a time, where Keras checks nothing and a traced step cannot ask whether the flow is adapted

    @alone
    def train_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras's `train_on_batch`. Raises ContractError for a flow that still waits for `adapt`."""
        return super().train_on_batch(ready_on(self, x, math.inf), *args, **kwargs)

    @alone
    def test_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras's `test_on_batch`. Raises ContractError for a flow that still waits for `adapt`."""
        return super().test_on_batch(ready_on(self, x, math.inf), *args, **kwargs)

    @alone
    def predict_on_batch(self, x: Any) -> Any:
        """Keras's `predict_on_batch`. Raises ContractError for a flow that still waits for `adapt`."""
        return super().predict_on_batch(ready_on(self, x, math.inf))

    # Data-dependent initialisation

    @alone
    def adapt(self, x: Any, context: Any = None, *, again: bool = True) -> Self:
        """Set what depends on data (each ActNorm's statistics) from the batch `x`. Returns `self`.

        The embedding adapts to the context, the bijector to the data, the base to their latents. `fit` does it
        with its first batch, for parts that still need it (`again=False`); a larger one gives better statistics (256).
        """
        x, context = self._check(x, context)
        y = dequantized(self, x)
        self._build_on(x, context)
        with backends.no_grad():
            adapt_parts(self, y, context, again, counted_for(self, 0, len(y), False))
        return self

    # Saving

    def save(self, filepath: str | Path, *args: Any, **kwargs: Any) -> None:
        """Keras's `save`, which writes the same bytes for the same flow."""
        with self.turns.answer("save"):
            self._refuse_late()  # before Keras opens the file, and with that empties it
            super().save(filepath, *args, **kwargs)
            make_reproducible(filepath)

    def get_config(self) -> dict[str, Any]:
        store = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "bijector": store(self.bijector),
            "base": store(self.base),
            "embedding": None if self.embedding is None else store(self.embedding),
            "dequantize": None if self.dequantize is None else store(self.dequantize),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        parts = {
            part: config[part] and keras.saving.deserialize_keras_object(config[part], custom_objects)
            for part in ("bijector", "base", "embedding", "dequantize")
            if part in config  # older files know of no embedding
        }
        return cls(**config | parts)

    def get_compile_config(self) -> dict[str, Any] | None:
        """Keras's own, with the optimizer's public class: on torch it would name one that only torch has."""
        config = super().get_compile_config()
        return config and engine_neutral(config)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As Keras does, for a model whose `compile` is its own."""
        self.compile(**keras.saving.deserialize_keras_object(without_other_losses(config)))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def save_own_variables(self, store: Any) -> None:
        with self.turns.answer("save"):
            self._refuse_late()
            super().save_own_variables(store)

    def _refuse_late(self):
        refuse_late(
            self.base, self._late & {layer.name for layer in self.base._flatten_layers() if layer.variables}
        )

    def load_own_variables(self, store: Any) -> None:
        refuse_late(self.base, self._late)
        super().load_own_variables(store)
