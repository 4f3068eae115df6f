"""Skip training steps with gradients that are not finite, and stop a training that takes no others."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras
from keras import ops

from flowkit.contract import Tensor
from flowkit.contract.arguments import Count, checked, instance
from flowkit.contract.configured import Configured, engine_neutral, one_line
from flowkit.engines import engine

_OPTIMIZER = instance(keras.optimizers.Optimizer, "a keras.optimizers.Optimizer")
Inner = Annotated[keras.optimizers.Optimizer, _OPTIMIZER]


@keras.saving.register_keras_serializable(package="flowkit")
class GuardedOptimizer(keras.optimizers.Optimizer):
    """Take a step of `inner_optimizer` if the loss and all gradients are finite; otherwise change nothing.

    The sum of the squares of all gradients must be finite too: larger gradients give NaN when clipped by their norm,
    and an infinite second moment stops Adam from ever moving that weight again.

    A skipped step leaves weights, moments, moving averages and `iterations` bit for bit as they
    were, and counts in two variables, `skipped` (in all) and `skipped_in_a_row`, which are saved
    and resumed with the rest. Learning rate, schedules, clipping, accumulation and moving averages
    are the inner optimizer's. Works in eager, compiled and stateless steps: the choice is an
    `ops.cond` on the gradients, as in Keras's `LossScaleOptimizer`.

    `StopWhenDiverged` reports the count, and stops training if steps stay bad.

    Raises TypeError if `inner_optimizer` is not a Keras optimizer; ValueError for a `LossScaleOptimizer`, which goes
    outside, and on several replicas of TensorFlow, which would have to agree on the choice.

    >>> import numpy as np
    >>> weight = keras.Variable([1.0, 2.0])
    >>> optimizer = GuardedOptimizer(keras.optimizers.SGD(0.5))
    >>> optimizer.apply([ops.convert_to_tensor([np.nan, 1.0])], [weight])
    >>> optimizer.apply([ops.convert_to_tensor([1.0, 1.0])], [weight])
    >>> ops.convert_to_numpy(weight).tolist(), int(optimizer.skipped), int(optimizer.iterations)
    ([0.5, 1.5], 1, 1)
    """

    __repr__ = one_line

    skips_what_is_not_finite = True  # so `Flow` leaves it out of its means

    @checked
    def __init__(self, inner_optimizer: Inner, name: str | None = None) -> None:
        if isinstance(inner_optimizer, keras.optimizers.LossScaleOptimizer):
            # Its scale comes down at gradients that are not finite, which would not reach it.
            raise ValueError(
                "GuardedOptimizer: got a LossScaleOptimizer, expected the optimizer inside it. Turn them around: "
                "LossScaleOptimizer(GuardedOptimizer(optimizer))."
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer

    def build(self, variables: Tensor) -> None:
        if engine.replicas() > 1:
            raise ValueError(
                f"GuardedOptimizer: got {engine.replicas()} replicas of tf.distribute, expected one. Compile with the "
                f"{type(self.inner_optimizer).__name__} itself there, or train on JAX."
            )
        self.inner_optimizer.build(variables)
        super().build(variables)
        self.skipped = self.add_variable(shape=(), dtype="int32", name="skipped")
        self.skipped_in_a_row = self.add_variable(shape=(), dtype="int32", name="skipped_in_a_row")

    def apply(self, grads: Sequence[Tensor], trainable_variables: Sequence[Tensor] | None = None) -> None:
        if not self.built:
            self.build(trainable_variables)

        def step():
            self.inner_optimizer.apply(grads, trainable_variables)
            self.skipped_in_a_row.assign(0)

        def skip():
            self.skipped.assign_add(1)
            self.skipped_in_a_row.assign_add(1)

        finite = _finite(grads)
        if engine.name == "jax":  # whose compiled steps go through `stateless_apply`
            step() if finite else skip()
        else:
            ops.cond(finite, step, skip)

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Tensor],
        grads: Sequence[Tensor],
        trainable_variables: Sequence[Tensor],
    ) -> tuple[list[Any], list[Any]]:
        # Both branches of a compiled cond are traced: they return values and assign nothing. LossScaleOptimizer
        # passes variables in place of values.
        optimizer_variables = [ops.convert_to_tensor(v) for v in optimizer_variables]
        own = len(super().variables)
        inner = optimizer_variables[own:]
        *others, total, row = optimizer_variables[:own]  # the counts, which `build` adds last

        def step():
            weights, state = self.inner_optimizer.stateless_apply(inner, grads, trainable_variables)
            return list(weights), [*others, total, ops.zeros_like(row), *state]

        def skip():
            return list(trainable_variables), [*others, total + 1, row + 1, *inner]

        return ops.cond(_finite(grads), step, skip)

    @property
    def variables(self) -> list[Any]:
        return super().variables + self.inner_optimizer.variables

    @property
    def learning_rate(self) -> Tensor:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Tensor:
        return self.inner_optimizer.iterations

    def scale_loss(self, loss: Tensor) -> Tensor:
        # The gradients of a loss that has overflowed may be finite. Times NaN they are not.
        loss = self.inner_optimizer.scale_loss(loss)
        one = loss - loss + 1  # or NaN: written so, it needs no number from the CPU
        return loss * ops.stop_gradient(one)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)
        # On JAX, weights and averages now share buffers, which a second `fit` could not donate.
        for variable in var_list:
            variable.assign(ops.copy(variable))

    def get_config(self) -> dict[str, Any]:
        return {
            "inner_optimizer": engine_neutral(keras.saving.serialize_keras_object(self.inner_optimizer)),
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "GuardedOptimizer":
        inner = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects=custom_objects
        )
        return cls(inner, name=config.get("name"))


def _finite(grads):
    """Return whether the sum of the squares of all gradients is finite: a tensor of one bool."""
    known = [ops.convert_to_tensor(grad) for grad in grads if grad is not None]
    # Squares of float16 overflow above 256.
    double = any(keras.backend.standardize_dtype(grad.dtype) == "float64" for grad in known)
    wide = [ops.cast(grad, "float64" if double else "float32") for grad in known]
    squares = [ops.sum(ops.square(grad)) for grad in wide]
    return ops.isfinite(sum(squares)) if squares else ops.convert_to_tensor(True)


class TrainingDiverged(RuntimeError):
    """The gradients of several steps in a row were not finite."""

    exit_code = 1  # of a command that ends with it
    told_to_all = True  # the processes of a group have skipped the same steps


class StopWhenDiverged(Configured, keras.callbacks.Callback):
    """Report skipped steps, and raise `TrainingDiverged` after `patience` of them in a row.

    Needs a model compiled with `GuardedOptimizer`. Each epoch's logs get `skipped`, the number of steps that were not
    taken in that epoch: put this callback first, and later ones see it. The count is read every `patience` steps and at
    the end of an epoch, since reading it makes the device wait. The error ends `fit` before the epoch's checkpoint is
    written, so that the last good one stays.

    >>> import flowkit, numpy as np
    >>> flow = flowkit.Flow(flowkit.bijectors.ActNorm())
    >>> flow.compile(GuardedOptimizer(keras.optimizers.Adam(1e-3)))
    >>> history = flow.fit(np.eye(64, 2), verbose=0, callbacks=[StopWhenDiverged(patience=2)])
    >>> history.history["skipped"]
    [0]
    """

    def __init__(self, patience: Count = 10) -> None:
        super().__init__()
        self.patience = patience

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._optimizer = guarded(self.model.optimizer)
        if self._optimizer is None:
            raise ValueError(
                f"StopWhenDiverged: got {type(self.model.optimizer).__name__}, expected a model compiled with "
                "flowkit.training.GuardedOptimizer(optimizer), whose skipped steps it counts."
            )
        self._epoch = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._looked = epoch, 0
        self._before = self._count("skipped")

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Not at the end of a step, for which Keras on JAX would have each step wait.
        if batch - self._looked >= self.patience:
            self._looked = batch
            self._check()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check()
        if logs is not None:
            logs["skipped"] = self._count("skipped") - self._before

    def so_far(self) -> dict[str, Any]:
        """Return what it knows of an epoch that is not over, for `Resume`."""
        return {"before": self._before}

    def go_on(self, known: dict[str, Any]) -> None:
        """Go on within the epoch of `so_far`."""
        self._before = known["before"]

    def _check(self):
        row = self._count("skipped_in_a_row")
        if row >= self.patience:
            raise TrainingDiverged(
                f"training stopped in epoch {self._epoch + 1}: the gradients of the last {row} steps were not finite. "
                "The weights are those before these steps; try a smaller learning rate or a longer warm-up"
            )

    def _count(self, name):
        if not self._optimizer.built:
            return 0
        engine.settle(self.model)
        return int(ops.convert_to_numpy(getattr(self._optimizer, name)))


def guarded(optimizer):
    """Return the `GuardedOptimizer` in a nest of wrapped optimizers, or None."""
    while optimizer is not None and not isinstance(optimizer, GuardedOptimizer):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return optimizer
