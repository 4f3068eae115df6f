"""What trains a flow: Keras's methods, with checked data, an objective as loss, and a lock for threads."""

import contextlib
import functools
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar, cast

import keras
from keras import ops

from flowkit.contract import ContractError, FlowLayer
from flowkit.contract.adaptation import is_adapted
from flowkit.contract.inside import keras_layers
from flowkit.contract.noise import drawn, given
from flowkit.contract.saving import engine_neutral
from flowkit.contract.shapes import as_tuple, event_size
from flowkit.data.batch_order import Batches
from flowkit.data.dequantize import Dequantize
from flowkit.engines import engine
from flowkit.flow import adapting, prepare, sampling, scoring
from flowkit.flow import context as contexts
from flowkit.flow.batches import map_leaves
from flowkit.flow.before_training import (
    OF_TARGETS,
    check_training,
    refuse_class_weight,
    refuse_other_losses,
    with_first,
)
from flowkit.flow.in_a_group import check_division, check_same, together
from flowkit.flow.metrics import MeanOfCounted, mean, what_counts
from flowkit.flow.noise import refuse_varying, varies
from flowkit.flow.sampling import drawn_with_score
from flowkit.flow.saving import restored_objective, stored_objective
from flowkit.objectives import MaximumLikelihood, Objective
from flowkit.objectives.objective import expect_shape

Method = TypeVar("Method", bound=Callable[..., Any])


def locked(method: Method) -> Method:
    """Return a flow's method that waits while another thread uses or trains the flow."""

    @functools.wraps(method)
    def waits(self, *args, **kwargs):
        with self.lock:
            engine.settle(self)  # a callback may call it in the middle of an epoch
            return method(self, *args, **kwargs)

    return cast(Method, waits)


class Trained(keras.Model):
    """The base of `flowkit.Flow`: Keras's methods that train, score by its loops, and take one batch."""

    jit_compile: Any  # Keras's

    objective: Objective
    bijector: FlowLayer
    dequantize: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.objective = MaximumLikelihood()
        self.nll = MeanOfCounted(name="nll")
        self.bits = MeanOfCounted(name="bits_per_dim")
        self.lock = threading.RLock()  # callbacks of `fit` may use the flow; other threads wait
        self.calls = 0  # whose round trip could be checked, since the weights changed
        self._scoring = False  # inside an evaluation
        self._asked = False  # inside an objective

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **options: Any) -> None:
        """Keras's `compile`, with an objective of `flowkit.objectives` as loss; None is `MaximumLikelihood()`.

        Raises ValueError for other losses and for metrics, and what the objective raises for a flow that it cannot
        train.
        """
        refuse_other_losses(self, {"loss": loss, **options})
        objective = MaximumLikelihood() if loss is None else loss
        objective.check(self)
        if objective.needs_data and not _is_likelihood(objective):
            refuse_varying(self.dequantize, type(objective).__name__)
        super().compile(optimizer, **options)
        self.objective = objective

    @locked
    def adapt(self, x: Any = None, context: Any = None, *, again: bool = True) -> Self:
        """Set what depends on data (each ActNorm's statistics) from the batch `x`. Returns `self`.

        The embedding adapts to the context, the bijector to the data, the base to their latents. `fit` does it
        with its first batch, for parts that still need it (`again=False`); a larger one gives better statistics (256).
        Without `x` draws of the flow are normalised, in the direction of sampling: those of an ActNorm
        nearest to the data leave with mean 0 and variance 1. In a group of processes each passes rows of its own, and
        the statistics are those of the rows of all.
        """
        with prepare.learned_columns(self, x, context) as x:
            prepare.refuse_whole(self, x)
            adapting.adapt(self, x, context, again)
        self.calls = 0
        return self

    @locked
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
        """Keras's `fit`, with `context=` for arrays; adapts to the first batch if that is not done yet.

        `x` is an array or any dataset that Keras takes; a dataset with context yields
        `({"x": ..., "context": ...},)`. `y`, the labels of `fit(images, labels)`, is another name for the
        context, ignored by a flow that takes none; `context=` is then a ContractError. `validation_data` is x, or
        (x, context), or (x, context, sample_weight). The first batch of a data set is checked, as arrays are. A
        `Standardize` adapts to up to 10,000 rows: a fixed draw of those of an array, or as many batches of a data set
        that can be read twice.

        If the objective needs no data, pass none: `fit(steps_per_epoch=1000, batch_size=256)`. Rows of a
        `context` are dealt out in batches, all of them before one comes again.

        In a group of processes (`flowkit.distributed`) all of them call it, each with as many rows of its own;
        gradients are averaged, and logs are of all rows.
        """
        refuse_class_weight("fit", class_weight)
        check_training(self)
        if isinstance(x, dict):
            if context is not None:
                raise ValueError("fit: got a context in x and as context=, expected one. Leave context= out.")
            x, context = prepare.unpack(x)
        prepare.refuse_unread(self, context)
        with prepare.learned_columns(self, x, y if context is None else context) as x:
            if self.objective.needs_data:
                if isinstance(x, Batches):
                    kwargs["shuffle"] = False  # its own order is what can be resumed
                    kwargs["callbacks"] = with_first(x.for_fit(), kwargs.get("callbacks"))
                prepare.refuse_whole(self, x)
                data = prepare.packed(self, x, y, context, sample_weight, learns=True)
            else:
                prepare.refuse_data(self, "fit", {"x": x, "y": y, "sample_weight": sample_weight})
                data, changed = prepare.without_data(self, context, batch_size, kwargs)
                batch_size, kwargs = None, kwargs | changed
            split, first = kwargs.get("validation_split", 0.0), data.first
            if data.count is not None:
                size = batch_size or 32  # Keras's default
                check_division(data.count - int(data.count * split), size)
                first = first[0][:size], prepare.rows(first[1], size)
            if validation_data is not None:
                validation_size = kwargs.get("validation_batch_size") or batch_size
                validation_data = prepare.to_validate(self, validation_data, validation_size)
            told = {**kwargs, "validation_data": validation_data}
            check_same(data.x, first[0], batch_size, epochs, told)
            if not self.built or not is_adapted(self):
                rows = adapting.rows_to_adapt(self, data.x, first, 1.0 - split)
                adapting.adapt(self, *rows, again=False)
        try:
            with together(self):
                return super().fit(
                    data.x,
                    data.y,
                    batch_size,
                    epochs,
                    validation_data=validation_data,
                    sample_weight=sample_weight,
                    **kwargs,
                )
        finally:
            self._after_training()

    @locked
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

        In a group of processes all of them call it, each with as many rows of its own. Raises ContractError for a flow
        that still waits for `adapt`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # with which `fit` comes, whose data are checked
            _, x, y, _ = prepare.ready(self, x, y, context, sample_weight, batch_size)
            check_same(x, None, batch_size, 1, kwargs)
        with self._scoring_all():
            return super().evaluate(x, y, batch_size, sample_weight=sample_weight, **kwargs)

    @locked
    def predict(self, x: Any, batch_size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Keras's `predict`: log_prob of data, or of a data set. `log_prob` draws its noise by the seed."""
        data = prepare.ready(self, x, batch_size=batch_size)
        return super().predict(data.x, batch_size, *args, **kwargs)

    # One batch, which Keras does not check

    @locked
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
        *,
        context: Any = None,
    ) -> Any:
        """Keras's `train_on_batch`, with `context=`; `x` and `y` are those of `fit`.

        Raises ContractError for a flow that still waits for `adapt`, and for a context that it does not read.
        """
        refuse_class_weight("train_on_batch", class_weight)
        check_training(self)
        prepare.refuse_data(self, "train_on_batch", {"x": x})
        _, x, y, _ = prepare.ready(self, x, y, context, sample_weight, math.inf, learns=True)
        logs = super().train_on_batch(x, y, sample_weight, return_dict=return_dict)
        self._after_training()
        return logs

    @locked
    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
        *,
        context: Any = None,
    ) -> Any:
        """Keras's `test_on_batch`, with `context=`; `x` and `y` are those of `fit`.

        Raises ContractError for a flow that still waits for `adapt`.
        """
        _, x, y, _ = prepare.ready(self, x, y, context, sample_weight, math.inf)
        with self._scoring_all():
            return super().test_on_batch(x, y, sample_weight, return_dict=return_dict)

    @locked
    def predict_on_batch(self, x: Any) -> Any:
        """Keras's `predict_on_batch`. Raises ContractError for a flow that still waits for `adapt`."""
        return super().predict_on_batch(prepare.ready(self, x, batch_size=math.inf).x)

    def _after_training(self):
        engine.after_fit(self)
        self.calls = 0

    @contextlib.contextmanager
    def _scoring_all(self) -> Iterator[None]:
        """A scope of an evaluation, in which all rows count: also in the program that is made of it, and kept."""
        before, self._scoring = self._scoring, True
        try:
            yield
        finally:
            self._scoring = before

    def _put_back(self):
        """Put weights that the engine holds in the middle of an epoch back into the flow, before it is used."""
        if engine.holds_weights(self):
            with self.lock:
                engine.settle(self)

    # What other rooms build their own answers from

    def _event(self):
        """Return the shape of an event. Raises ContractError for a flow that is not built."""
        if self.event_shape is None:
            raise ContractError(
                "event shape",
                self,
                expected="to know the size of the data",
                received="a call before any data",
                hint="Call .build((None, d)), or .build((None, h, w, c)) of images, .adapt(batch) or .fit(data) first.",
            )
        return self.event_shape

    def _run(self, function, *args):
        """Return `function` of arrays, without gradients, compiled if the engine does.

        A bound method is the same each time, so that it is compiled once; a closure is not.
        """
        return self._compiled_function(function)(*(map_leaves(engine.as_input, a) for a in args))

    @functools.cached_property
    def _compiled_function(self) -> Callable[..., Any]:
        return functools.lru_cache(maxsize=32)(lambda function: engine.compile_inference(function, self))

    def _check(self, x, context):
        return prepare.checked(self, x, context)

    @locked
    def _score_in_a_group(self, x, context=None, samples=1):
        return scoring.score_in_a_group(self, x, context, samples)

    def _latents(self, count, context, temperature, seed):
        return sampling.latents(self, count, context, temperature, seed)

    def _drawn_with_score(self, rows, seen):
        return sampling.drawn_with_score(self, rows, seen)

    def _prepare(self, x, context, batch_size=None):
        """Return checked data, and what the parts receive of their context, for a flow that is built and adapted."""
        x, context = prepare.checked(self, x, context, lazily=True)
        prepare.build_on(self, x, context)
        prepare.check_adapted(self)
        return x, contexts.embedded(self, context, batch_size)

    def _ready(self, context, batch_size=None, rows=None):
        """Return what the parts receive of a context, which is checked and may have to have so many rows."""
        prepare.check_adapted(self)
        return contexts.embedded(self, contexts.check_context(self, context, rows), batch_size)

    # What Keras's steps call

    def stateless_call(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *given: Any,
        return_losses: bool = False,
        **more: Any,
    ) -> Any:
        """Keras's, but through `__call__`: layers inside find `training` in its call context, which `call` skips.

        Arrays become tensors first, as a step that runs eagerly on JAX passes numpy arrays.
        """
        mapping = [
            *zip(self.trainable_variables, trainable_variables, strict=True),
            *zip(self.non_trainable_variables, non_trainable_variables, strict=True),
        ]
        with keras.StatelessScope(mapping, collect_losses=return_losses) as scope:
            answer = self(*map_leaves(ops.convert_to_tensor, given), **more)
            losses = self.losses if return_losses else None
        changed = [scope.get_current_value(variable) for variable in self.non_trainable_variables]
        return (answer, changed, losses) if return_losses else (answer, changed)

    def train_step(self, *data: Any) -> Any:
        """Keras's training step, with gradients averaged over the processes of a group."""
        return engine.train_step(self, super().train_step, *data)

    def _get_jax_state(self, **kinds):
        """Keras's state for a step on JAX. The model keeps its weights: the step may fail before it reads them."""
        self._jax_state = None  # of an earlier step; never put back over these weights
        return super()._get_jax_state(**kinds | {"purge_model_variables": False})

    def _continuous(self, x):
        """Return (continuous values of `x`, the dequantizer's part of log_prob or None if it is constant)."""
        dequantize = self.dequantize
        if dequantize is None:
            return x, None
        seeds = dequantize.noise if isinstance(dequantize, Dequantize) else self.noise
        needs = dequantize.noise_needs(x.shape, inverse=False)
        noise = drawn(needs, ops.shape(x)[0], dequantize.compute_dtype, seeds)
        y, log_det = dequantize.run(ops.cast(x, dequantize.compute_dtype), None, inverse=False, noise=noise)
        return y, log_det if varies(dequantize) else None

    def _noise_for(self, y):
        """Return the numbers that the bijector needs to score continuous values; None for none."""
        if not self._draws:
            return None
        needs = self.bijector.noise_needs(as_tuple(y.shape), inverse=False)
        return drawn(needs, ops.shape(y)[0], self.compute_dtype, self.noise)

    def _refresh(self, y, context, noise, training):
        """Refresh the bijector, once in a training step."""
        if training and self.bijector.refreshes:
            self.bijector.run_refresh(ops.stop_gradient(y), context, **given(noise))

    def _objective_losses(self, inputs):
        """Return what `call` gives in training on another objective: {"loss": (batch,)}."""
        x, context = prepare.unpack(inputs)
        if self.objective.needs_data:
            x, _ = self._continuous(x)
        if self.bijector.refreshes:
            seen = self.embed(context)
            y = x if self.objective.needs_data else drawn_with_score(self, ops.shape(x)[0], seen)[0]
            self._refresh(y, seen, self._noise_for(y), training=True)
        self._asked = True  # an objective may call the flow, which returns log_prob
        try:
            with engine.compiling_parts(when=self.jit_compile):
                losses = self.objective(self, x, context)
        finally:
            self._asked = False
        expect_shape(type(self.objective).__name__, losses, (x.shape[0],))
        return {"loss": losses}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The mean of the losses (weighted if weights are given), plus the layers' own.

        In training they are the objective's; in evaluation -log_prob in nats.
        """
        losses = y_pred["loss"] if isinstance(y_pred, dict) else -y_pred
        if sample_weight is not None:
            expect_shape("sample_weight, one number for each row", sample_weight, losses.shape)
            losses = losses * ops.cast(sample_weight, losses.dtype)
        loss = mean(losses)
        for extra in self.losses:
            loss = loss + extra
        return engine.replica_share(loss)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The loss; and of data whose log_prob is known, nll and bits_per_dim."""
        if isinstance(y_pred, dict):
            return {"loss": self.get_metrics_result()["loss"]}
        data, _ = prepare.unpack(x)
        counts, weight = what_counts(self, y_pred, sample_weight)
        nats = ops.where(counts, -y_pred, ops.zeros_like(y_pred))
        self.nll.update_state(nats, weight)
        self.bits.update_state(nats / (event_size(data.shape) * math.log(2)), weight)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """Keras's, of the rows of all processes that train the model."""
        # Those of Keras 3.16's own way of training in a group are of all rows already.
        if engine.processes() == 1 or getattr(self, "ddp_model", None) is not None:
            return super().get_metrics_result()
        variables = self.metrics_variables
        values = engine.summed([variable.value for variable in variables])
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return super().get_metrics_result()

    def make_train_function(self, force: bool = False) -> Any:
        return self._make(super().make_train_function, force or self.train_function is None)

    def make_test_function(self, force: bool = False) -> Any:
        return self._make(super().make_test_function, force or self.test_function is None)

    def make_predict_function(self, force: bool = False) -> Any:
        return self._make(super().make_predict_function, force or self.predict_function is None)

    def _make(self, make, force):
        """Make a function of Keras's for steps; on PyTorch chains compile their parts in place of the whole step."""
        compiles = self.jit_compile
        if force and compiles and engine.name == "torch":
            self.jit_compile = self._is_one_part()
        try:
            return make(force=force)
        finally:
            self.jit_compile = compiles

    def _is_one_part(self):
        """Return whether to compile whole steps: if no layer is a chain, and no other process takes part in a step.

        Chains compile each kind of part once; a whole step would take longer with each step of the flow.
        """
        if engine.processes() > 1:
            return False
        chains = [layer for layer in keras_layers(self) if getattr(layer, "composite", False)]
        if any(getattr(chain, "backprop", "stored") != "stored" for chain in chains):
            warnings.warn(
                "jit_compile=True: on PyTorch a chain with backprop='recompute' or 'reversible' runs eagerly all the "
                "same. Use backprop='stored' to have it compiled, or leave jit_compile out.",
                stacklevel=2,
            )
        return not chains

    @property
    def _trains_on_likelihood(self):
        """Whether training minimises -log_prob, which `call` gives."""
        return _is_likelihood(self.objective)

    # The objective in a file

    def get_compile_config(self) -> dict[str, Any] | None:
        """Keras's own, and the objective; with the optimizer's public class: on torch it would name torch's."""
        with self.lock:
            engine.settle(self)  # the rate of the optimizer is one of its variables
            config = super().get_compile_config()
        return config and engine_neutral(config) | stored_objective(self.objective)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As Keras does, for a model whose `compile` is its own."""
        # Losses and metrics of Keras's were ignored before they were refused.
        kept = {key: value for key, value in config.items() if key not in (*OF_TARGETS, "objective")}
        self.compile(**keras.saving.deserialize_keras_object(kept))
        self.objective = restored_objective(config)
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)


def _is_likelihood(objective):
    return type(objective).__call__ is MaximumLikelihood.__call__
