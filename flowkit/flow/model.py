"""A flow as a `keras.Model`: training on checked data, an objective as loss, files, and a lock for threads."""

import functools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import keras
import numpy as np
from keras import ops

from flowkit.contract import Context, ContractError, FlowLayer, Tensor
from flowkit.contract.adaptation import is_adapted
from flowkit.contract.configured import engine_neutral
from flowkit.contract.inside import layers_inside
from flowkit.data.frame import Columns
from flowkit.engines import engine
from flowkit.flow import adapting, inputs, packing, saving
from flowkit.flow.averages import Averages
from flowkit.flow.group import check_devices, check_same_work, together
from flowkit.flow.inputs import check_context
from flowkit.flow.parts import needed_by
from flowkit.flow.rows import inference_functions, map_leaves, refuse_varying
from flowkit.flow.scoring import is_likelihood
from flowkit.objectives import MaximumLikelihood, Objective

_OF_TARGETS = ("loss_weights", "metrics", "weighted_metrics")
Method = TypeVar("Method", bound=Callable[..., Any])


def locked(method: Method) -> Method:
    """Return a flow's method that waits while another thread uses or trains the flow."""

    @functools.wraps(method)
    def waits(self, *args, **kwargs):
        with self.lock:
            engine.settle(self)  # a callback may call it in the middle of an epoch
            return method(self, *args, **kwargs)

    return cast(Method, waits)


class FlowModel(keras.Model):
    """The base of `flowkit.Flow`: what it has as a `keras.Model`, training and files, but the density."""

    jit_compile: Any  # Keras's
    bijector: FlowLayer
    base: Any
    embedding: Any
    dequantize: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.objective: Objective = MaximumLikelihood()
        self.columns: Columns | None = None
        self.context_columns: Columns | None = None
        self.event_shape: tuple[int, ...] | None = None
        self.latent_shape: tuple[int, ...] = ()
        self.lock = threading.RLock()  # callbacks of `fit` may use the flow; other threads wait
        self.rows_of_a_batch = 1  # if no batch size is given: of a built flow more, by the size of an event
        self.rows_of_a_block = 1  # of draws, with one seed: by the size of a latent event
        self.may_lose_digits = False  # on the way to the latents and back: known of a built flow
        self.checked_at_load = -1  # `FlowLayer.weight_loads` when all parts were seen to be adapted
        self._has_float16 = False  # asked by `compile`
        self.calls = 0  # of methods that may check a round trip, since the weights changed
        self.has_new_weights = False  # loaded or set, and not yet searched for NaN
        self.has_other_losses = False  # than the objective's, when `compute_loss` ran last
        self.averages = Averages(self)  # none yet

    def compile(
        self, optimizer: str | keras.Optimizer = "rmsprop", loss: Objective | None = None, **options: Any
    ) -> None:
        """Keras's `compile`, with an objective of `flowkit.objectives` as loss; None is `MaximumLikelihood()`.

        Raises ValueError for other losses and for metrics, and what the objective raises for a flow that it cannot
        train.
        """
        given = {name: options[name] for name in _OF_TARGETS if options.get(name) is not None}
        if given or not isinstance(loss, Objective | None):
            raise ValueError(
                f"{type(self).__name__}.compile: got {given or loss!r}, expected an objective as loss=, such as "
                "MaximumLikelihood() (the default), ReverseKL(log_density) or FlowMatching(), and no metrics, since a "
                "flow reports nll and bits_per_dim."
            )
        objective = MaximumLikelihood() if loss is None else loss
        objective.check(self)
        if objective.needs_data and not is_likelihood(objective):
            refuse_varying(self.dequantize, type(objective).__name__)
        super().compile(optimizer, **options)
        self.averages = Averages(self)
        self.objective = objective
        # Keras scales the loss of a model in float16, but not of this one, whose networks may compute in it.
        self._has_float16 = any(layer.dtype_policy.name == "mixed_float16" for layer in layers_inside(self))
        if engine.processes() > 1 and self.optimizer is not None:
            engine.average_gradients(self.optimizer)

    @property
    def variables(self) -> list[keras.Variable]:
        """Return all that a training step may change, but optimizer and metrics: `weights`, seeds and averages."""
        return [*super().variables, *self.averages.variables]

    def _check_training(self, class_weight):
        """Raise if the flow, compiled as it is, would not learn from what it receives."""
        if class_weight is not None:
            raise ValueError("Flow: got class_weight=, expected sample_weight=, one number per row.")
        self.objective.check(self)
        check_devices()
        scaled = isinstance(getattr(self, "optimizer", None), keras.optimizers.LossScaleOptimizer)
        if self._has_float16 and not scaled:
            raise ValueError(
                "Flow: got networks in float16, whose gradients underflow, expected "
                "keras.optimizers.LossScaleOptimizer(optimizer), outside any GuardedOptimizer. mixed_bfloat16 needs no "
                "scaling."
            )

    @locked
    def adapt(self, x: Tensor | None = None, context: Context = None, *, again: bool = True) -> Self:
        """Set what depends on data (each ActNorm's statistics) from the batch `x`. Returns `self`.

        The embedding adapts to the context, the bijector to the data, the base to their latents. `fit` does it
        with its first batch, for parts that still need it (`again=False`); a larger one gives better statistics (256).
        Without `x`, adapt to 256 draws of the unadapted flow. In a group of processes each passes rows of its own, and
        the statistics are those of the rows of all.
        """
        with packing.learned_columns(self, x, context):
            if x is None:
                adapting.adapt_to_draws(self, check_context(self, context), again)
            else:
                x = inputs.as_array(self, x)
                packing.refuse_whole(self, x)
                x, context = inputs.checked_data(self, x, context)
                if not self.built:
                    inputs.build_on(self, x, context)
                adapting.adapt(self, x, context, again)
        self.calls = 0
        return self

    @locked
    def fit(
        self,
        x: Tensor | None = None,
        y: Tensor | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        context: Context = None,
        validation_data: Any = None,
        sample_weight: Tensor | None = None,
        class_weight: dict[int, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Keras's `fit`, with `context=` for arrays; adapts to the first batch if that is not done yet.

        `x` is an array or any dataset that Keras takes; a dataset with context yields
        `({"x": ..., "context": ...},)`. `y`, the labels of `fit(images, labels)`, is another name for the
        context, ignored by a flow that takes none; `context=` is then a ContractError. `validation_data` is x, or
        (x, context), or (x, context, sample_weight). The first batch of a data set is checked, as arrays are.
        `sample_weight`: a number for each row, by which its loss counts, and in what adapts to data.
        Layers with `rows_to_adapt`, such as `Standardize`, adapt to up to 10,000 rows: a fixed draw of those of an
        array, or as many batches of a data set that can be read twice.

        If the objective needs no data, pass none: `fit(steps_per_epoch=1000, batch_size=256)`. Rows of a
        `context` are dealt out in batches, all of them before one comes again.

        In a group of processes (`flowkit.distributed`) all of them call it, each with as many rows of its own;
        gradients are averaged, and logs are of all rows.
        """
        self._check_training(class_weight)
        options = {"batch_size": batch_size, "epochs": epochs, "validation_data": validation_data, **kwargs}
        with packing.learned_columns(self, x, y if context is None else context):
            data, options = packing.to_train(self, x, y, context, sample_weight, options)
            packing.warn_of_rounding(self, x, data)
            if engine.processes() > 1:
                check_same_work(data.x, data.first(batch_size)[0], options)
            if not is_adapted(self):
                adapting.adapt_for_fit(self, data, options, sample_weight)
            if not self.objective.needs_data:
                with engine.no_grad():
                    self.objective.check_draws(self, map_leaves(ops.convert_to_tensor, data.rows[1]))
        try:
            with together(self):
                return super().fit(data.x, data.y, sample_weight=sample_weight, **options)
        finally:
            self._after_training()

    @locked
    def evaluate(
        self,
        x: Tensor | None = None,
        y: Tensor | None = None,
        batch_size: int | None = None,
        *,
        context: Context = None,
        sample_weight: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Keras's `evaluate`, with `context=` for arrays; `x` and `y` are those of `fit`.

        In a group of processes all of them call it, each with as many rows of its own. Raises ContractError for a flow
        that still waits for `adapt`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # with which `fit` comes, whose data are checked
            data = packing.ready(self, x, y, context, sample_weight)
            packing.warn_of_rounding(self, x, data)
            x, y = data.x, data.y
            if engine.processes() > 1:
                check_same_work(x, None, {"batch_size": batch_size, **kwargs})
        return super().evaluate(x, y, batch_size, sample_weight=sample_weight, **kwargs)

    @locked
    def predict(self, x: Tensor, batch_size: int | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """Keras's `predict`: log_prob of data, or of a data set. `log_prob` draws its noise by the seed."""
        data = packing.ready(self, x)
        packing.warn_of_rounding(self, x, data)
        return super().predict(data.x, batch_size, *args, **kwargs)

    # One batch, which Keras does not check

    @locked
    def train_on_batch(
        self,
        x: Tensor,
        y: Tensor | None = None,
        sample_weight: Tensor | None = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
        *,
        context: Context = None,
    ) -> Any:
        """Keras's `train_on_batch`, with `context=`; `x` and `y` are those of `fit`. Raises what `evaluate` does."""
        self._check_training(class_weight)
        packing.refuse_data(self, "train_on_batch", x)
        x, y, *_ = packing.ready(self, x, y, context, sample_weight, learns=True)
        logs = super().train_on_batch(x, y, sample_weight, return_dict=return_dict)
        self._after_training()
        return logs

    @locked
    def test_on_batch(
        self,
        x: Tensor,
        y: Tensor | None = None,
        sample_weight: Tensor | None = None,
        return_dict: bool = False,
        *,
        context: Context = None,
    ) -> Any:
        """Keras's `test_on_batch`, with `context=`; `x` and `y` are those of `fit`. Raises what `evaluate` does."""
        x, y, *_ = packing.ready(self, x, y, context, sample_weight)
        return super().test_on_batch(x, y, sample_weight, return_dict=return_dict)

    @locked
    def predict_on_batch(self, x: Tensor) -> Tensor:
        """Keras's `predict_on_batch`. Raises what `evaluate` does."""
        return super().predict_on_batch(packing.ready(self, x).x)

    def stateless_call(
        self,
        trainable_variables: Sequence[Tensor],
        non_trainable_variables: Sequence[Tensor],
        *given: Any,
        return_losses: bool = False,
        **more: Any,
    ) -> Any:
        """Run as Keras does, but through `__call__`: layers find `training` in its call context, which `call` skips."""
        variables = [*self.trainable_variables, *self.non_trainable_variables]
        mapping = zip(variables, [*trainable_variables, *non_trainable_variables], strict=True)
        with keras.StatelessScope(list(mapping), collect_losses=return_losses) as scope:
            # An eager step on JAX passes numpy arrays.
            answer = self(*map_leaves(ops.convert_to_tensor, given), **more)
            losses = self.losses if return_losses else None
        changed = [scope.get_current_value(variable) for variable in self.non_trainable_variables]
        return (answer, changed, losses) if return_losses else (answer, changed)

    def _get_jax_state(self, **kinds):
        """Keras's state for a step on JAX. The model keeps its weights: the step may fail before it reads them."""
        self._jax_state = None  # of an earlier step; never put back over these weights
        return super()._get_jax_state(**kinds | {"purge_model_variables": False})

    def get_metrics_result(self) -> dict[str, Any]:
        """Return Keras's metrics, of the rows of all processes that train the model."""
        # Keras 3.16's own training in a group counts the rows of all processes already.
        if engine.processes() == 1 or getattr(self, "ddp_model", None) is not None:
            return super().get_metrics_result()
        variables = self.metrics_variables
        values = engine.summed([variable.value for variable in variables])
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return super().get_metrics_result()

    def _after_training(self):
        engine.after_fit(self)
        self.calls = 0

    def _put_back(self):
        """Put weights that the engine holds in the middle of an epoch back into the flow, before it is used."""
        if engine.holds_weights(self):
            with self.lock:
                engine.settle(self)

    @functools.cached_property
    def context_kind(self) -> str:
        """Return "required", "optional" or "none": the most that the bijector, the base or the flow itself needs."""
        return needed_by(self.bijector, self.base, self)

    @functools.cached_property
    def most_rows_to_adapt(self) -> int:
        """Return how many rows the parts of the flow ask to adapt to; 0 if a batch will do."""
        return max(getattr(layer, "rows_to_adapt", 0) for layer in layers_inside(self))

    def _event(self):
        """Return the shape of an event. Raises ContractError for a flow that is not built."""
        if self.event_shape is None:
            wanted, received = "to know the size of the data", "a call before any data"
            hint = "Call .build((None, d)), or .build((None, h, w, c)) of images, .adapt(batch) or .fit(data) first."
            raise ContractError("event shape", self, expected=wanted, received=received, hint=hint)
        return self.event_shape

    @functools.cached_property
    def _inference_function(self) -> Callable[..., Any]:
        return inference_functions(self)

    # Weights and files

    get_weights = locked(keras.Model.get_weights)  # also in the middle of an epoch
    save_own_variables = locked(keras.Model.save_own_variables)

    @locked
    def set_weights(self, weights: Tensor) -> None:
        """Set the weights."""
        super().set_weights(weights)
        self._forget()

    @locked
    def load_own_variables(self, store: Any) -> None:
        """Load the weights."""
        super().load_own_variables(store)
        self._forget()

    def _forget(self):
        """Forget what was seen of earlier weights."""
        FlowLayer.weight_loads += 1  # the new ones may be from before `adapt`
        self.calls = 0
        self.has_new_weights = True

    @locked
    def save(
        self, filepath: str | Path, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Keras's `save`, which replaces an older file only once the new one is written."""
        write = functools.partial(super().save, **kwargs)
        saving.save(write, filepath, overwrite, zipped)

    @classmethod
    def from_preset(cls, preset: str | os.PathLike[str]) -> Self:
        """Return the flow of a preset: "glow/digits" and others that come with flowkit, a folder, or "hf://user/name".

        All its files but the README are compared with their SHA-256 first, and none runs code. hf:// needs
        huggingface_hub, and keeps what it has downloaded. Layers of your own must be registered before, as for
        `keras.saving.load_model`.

        Raises PresetError, a ValueError, if there is no such preset, if it is damaged, of a newer flowkit, brings code,
        or is another kind of flow than `cls`.

        >>> import flowkit
        >>> flow = flowkit.Flow.from_preset("glow/digits")
        >>> flow.sample(2, seed=0).shape
        (2, 8, 8, 1)
        """
        return saving.from_preset(cls, preset)

    @locked
    def save_to_preset(
        self,
        folder: str | os.PathLike[str],
        *,
        rows: Tensor | None = None,
        context: Context = None,
        about: Mapping[str, Any] | None = None,
        extra: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write the flow as a preset into `folder`, a new one: config, weights, metadata and a README, at once.

        - `rows`, with their `context`: some data (a batch) that are kept beside their `log_prob`, in check.npz, so that
          a loaded flow can be compared.
        - `about`: what metadata.json and README.md also say: `license`, `description`, `data` ({"name", "sha256"}),
          `measured` (such as {"test_bits_per_dim": 3.6}).
        - `extra`: further files, name -> content: recipe.toml, and pictures such as samples.png.

        Optimizer and objective stay behind. Raises ContractError for a flow that is not built, PresetError if there is
        something in `folder` already or `extra` has a file of another name, and Keras's TypeError for a class of yours
        that is not registered.

        >>> import flowkit, tempfile
        >>> folder = tempfile.mkdtemp() + "/mine"
        >>> flow = flowkit.zoo.nsf(features=2, layers=2, hidden=[8])
        >>> flow.save_to_preset(folder, about={"license": "cc0-1.0"})
        >>> flowkit.Flow.from_preset(folder).event_shape
        (2,)
        """
        saving.save_to_preset(self, folder, rows, context, about, extra)

    @locked
    def export(  # type: ignore[override]
        self, path: str | Path, what: str = "decode", format: str = "onnx", *, context: Context = None
    ) -> float:
        """Write one of the flow's functions to `path`, for any batch size, with its weights as constants.

        - `what`: "decode", x = f^-1(z); "encode", z = f(x); "log_prob", log p(x) in nats; or "encode_and_log_prob".
          For a flow with `dequantize` x holds stored values such as 0..255, whole numbers in float32: "decode" returns
          those of `flow.decode`, the others take the middle of their bins, as `flow.encode` does.
        - `format`: "onnx", "openvino" (.xml, with its .bin), "torch" (.pt2), "saved_model" (a folder) or "litert"
          (.tflite). docs/export.md lists the formats of each engine.
        - `context`: of a conditional flow a few rows to compare on; the file takes the context as its second input.

        The file is run on 1, 3 and 64 draws of the flow before it is put at `path`. Returns the largest difference
        from the flow, as a part of the size of the answer; for stored values the smallest difference before rounding
        that explains them. Raises ValueError for what cannot be written here, such as the log_prob of a flow whose
        dequantizer has a log-det that varies, ImportError for packages that are missing, and ContractError for a flow
        that is not built or draws noise on that way, and if the file differs by more than 1e-5, or than the flow's own
        answer changes if its input is rounded once: nothing is written then.
        """
        from flowkit.flow.export import export  # for the few calls that need it: it takes a moment

        return export(self, path, what, format, context)

    def summary(
        self,
        line_length: int | None = None,
        *,
        print_fn: Callable[[str], None] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:
        """Print the flow's parts in their order: level, latents, weights, log-det, and what training keeps of them.

        One row stands for the copies of a `Repeat`, `8 x`, unless `expand_nested`. `show_trainable` adds a column: Y,
        N, or - for a part without weights. `print_fn` receives the text; `line_length` is in characters.

        >>> import flowkit
        >>> flow = flowkit.Flow(flowkit.bijectors.Scale(0.5))
        >>> flow.build((None, 2))
        >>> flow.summary(print_fn=lambda text: print(text.splitlines()[-1].strip()))
        log_prob is exact
        """
        from flowkit.flow.summary import show  # for the few calls that need it: it takes a moment

        show(self, line_length, print_fn, expand_nested=expand_nested, show_trainable=show_trainable)

    def plot(
        self, x: Tensor | None = None, context: Context = None, *, samples: int = 1000, seed: int = 0
    ) -> Any:
        """Return a matplotlib figure: the density of one or two columns, pairs of samples of more, or sampled images.

        `x` are rows to draw beside the flow; `context` is the one condition to draw for a conditional flow. Draws the
        first 6 columns, from `samples` samples. Raises ValueError for other events, and for a flow that is not built.

        >>> import flowkit
        >>> flow = flowkit.Flow(flowkit.bijectors.Scale(0.5))
        >>> flow.build((None, 2))
        >>> [axes.get_ylabel() for axes in flow.plot().axes]
        ['column 1', 'density']
        """
        from flowkit.plots import draw

        context = check_context(self, context)
        x = None if x is None else np.asarray(inputs.as_array(self, x))
        return draw(self, x, context, samples, seed)

    def _repr_html_(self) -> str:
        from flowkit.flow.summary import as_html

        return as_html(self)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **saving.config_of(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        return saving.from_config(cls, config, custom_objects)

    def get_compile_config(self) -> dict[str, Any] | None:
        """Keras's own, and the objective; with the optimizer's public class: on torch it would name torch's."""
        with self.lock:
            engine.settle(self)  # the rate of the optimizer is one of its variables
            config = super().get_compile_config()
        if not config:
            return config
        objective = saving.stored_objective(self.objective)
        return None if objective is None else engine_neutral(config) | objective

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As Keras does, for a model whose `compile` is its own."""
        config = keras.saving.deserialize_keras_object(config)
        objective = config.pop("objective", None)
        self.compile(**config)
        self.objective = objective or self.objective
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)
