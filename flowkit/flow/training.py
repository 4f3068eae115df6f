"""What a flow is trained on: its objective, in the place where Keras's `compile` takes a loss."""

import contextlib
import warnings
from typing import Any

import keras
from keras import ops

from flowkit.contract import FlowLayer
from flowkit.contract.inside import keras_layers
from flowkit.contract.noise import drawn, given
from flowkit.contract.saving import engine_neutral
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine
from flowkit.flow.counting import mean
from flowkit.flow.dequantizing import draws_elsewhere, refuse_varying, varies
from flowkit.flow.inputs import unpack
from flowkit.flow.metrics import MeanOfCounted, report
from flowkit.flow.reparameterized import drawn_with_score
from flowkit.flow.stored_objective import restored, stored
from flowkit.flow.turns import Turns
from flowkit.objectives import MaximumLikelihood, Objective
from flowkit.objectives.objective import expect_shape

# What Keras's `compile` takes for models whose loss compares predictions with targets.
_OF_TARGETS = ("loss", "loss_weights", "metrics", "weighted_metrics")


class Training(keras.Model):
    """The part of `flowkit.Flow` that says what training minimises and what it reports."""

    objective: Objective
    bijector: FlowLayer
    dequantize: Any
    sampler: keras.random.SeedGenerator
    noise: keras.random.SeedGenerator | None
    nll: MeanOfCounted
    bits: MeanOfCounted
    turns: Turns
    _scoring: bool  # inside an evaluation
    _asked: bool  # inside an objective

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **options: Any) -> None:
        """Keras's `compile`, with an objective of `flowkit.objectives` as loss; None is `MaximumLikelihood()`.

        Raises ValueError for other losses and for metrics, and what the objective raises for a flow that it cannot
        train.
        """
        self._refuse_other_losses({"loss": loss, **options})
        objective = MaximumLikelihood() if loss is None else loss
        objective.check(self)
        if objective.needs_data and type(objective).__call__ is not MaximumLikelihood.__call__:
            refuse_varying(self.dequantize, type(objective).__name__)
        super().compile(optimizer, **options)
        self.objective = objective

    def _refuse_other_losses(self, given):
        for name in _OF_TARGETS:
            if given.get(name) is None or (name == "loss" and isinstance(given[name], Objective)):
                continue
            if name == "loss":
                made = ": it is a class, to be called" if isinstance(given[name], type) else ""
                raise ValueError(
                    f"{type(self).__name__}.compile expects an objective as loss=, such as MaximumLikelihood() (the "
                    f"default), ReverseKL(log_density) or FlowMatching(), received {given[name]!r}{made}."
                )
            raise ValueError(
                f"{type(self).__name__}.compile expects no {name}=, received {given[name]!r}: a flow reports nll and "
                f"bits_per_dim. Leave {name} out."
            )

    @property
    def _trains_on_likelihood(self):
        """Whether what training minimises is -log_prob, which `call` gives."""
        return type(self.objective).__call__ is MaximumLikelihood.__call__

    def _objective_losses(self, inputs):
        """What `call` answers in training on another objective: {"loss": (batch,)}."""
        x, context = unpack(inputs)
        if self.objective.needs_data:
            x = self._continuous(x)[0]
        if self.bijector.refreshes:
            seen = self.embed(context)
            y = x if self.objective.needs_data else self._drawn_with_score(ops.shape(x)[0], seen)[0]
            self._refresh(y, seen, self._noise_for(y), training=True)
        self._asked = True  # an objective may call the flow, which answers with log_prob
        try:
            with engine.compiling_parts(when=self.jit_compile):
                losses = self.objective(self, x, context)
        finally:
            self._asked = False
        expect_shape(type(self.objective).__name__, losses, (x.shape[0],))
        return {"loss": losses}

    @contextlib.contextmanager
    def _scoring_all(self):
        """A scope of an evaluation, in which all rows count: also in the program that is made of it, and kept."""
        before, self._scoring = self._scoring, True
        try:
            yield
        finally:
            self._scoring = before

    def train_step(self, *data: Any) -> Any:
        """Keras's training step, with gradients averaged over the processes of a group."""
        return engine.train_step(self, super().train_step, *data)

    def _get_jax_state(self, **kinds):
        """Keras's state for a step on JAX. The model keeps its weights: the step may fail before it reads them."""
        self._jax_state = None  # of an earlier step; never put back over these weights
        return super()._get_jax_state(**kinds | {"purge_model_variables": False})

    # What a step draws, from the flow's own state

    def _continuous(self, x):
        """(`x` or its dequantised values, their dequantizer's part of log_prob, or None if it is constant)."""
        dequantize = self.dequantize
        if dequantize is None:
            return x, None
        needs = dequantize.noise_needs(x.shape, inverse=False)
        seeds = self.noise if draws_elsewhere(dequantize) else dequantize.noise
        noise = drawn(needs, ops.shape(x)[0], dequantize.compute_dtype, seeds)
        y, log_det = dequantize.run(ops.cast(x, dequantize.compute_dtype), None, inverse=False, noise=noise)
        return y, log_det if varies(dequantize) else None

    def _drawn_with_score(self, rows, seen):
        """(x, log q(x)) for draws x of the flow, with gradients, given what its parts see of the context."""
        return drawn_with_score(self, rows, seen)

    def _noise_for(self, x):
        """What the bijector needs to score continuous values; None for nothing."""
        if not self.bijector.spec.draws(
            inverse=False
        ):  # sizes of parts that draw nothing need not be gone through in each step
            return None
        needs = self.bijector.noise_needs(as_tuple(x.shape), inverse=False)
        return drawn(needs, ops.shape(x)[0], self.compute_dtype, self.noise)

    def _refresh(self, x, context, noise, training):
        """Once in a training step: what the bijector refreshes."""
        if training and self.bijector.refreshes:
            self.bijector.run_refresh(ops.stop_gradient(x), context, **given(noise))

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
        data, _ = unpack(x)
        report(self, data, y_pred, sample_weight)
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

    def get_compile_config(self) -> dict[str, Any] | None:
        """Keras's own, and the objective; with the optimizer's public class: on torch it would name torch's."""
        with self.turns.answer("save"):
            engine.settle(self)  # the rate of the optimizer is one of its variables
            config = super().get_compile_config()
        return config and engine_neutral(config) | stored(self.objective)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As Keras does, for a model whose `compile` is its own."""
        # A loss or metric of Keras's was ignored when it was not refused yet.
        kept = {key: value for key, value in config.items() if key not in (*_OF_TARGETS, "objective")}
        self.compile(**keras.saving.deserialize_keras_object(kept))
        self.objective = restored(config)
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)
