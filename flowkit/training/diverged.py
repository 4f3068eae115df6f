"""Stop a training whose gradients are not finite, step after step."""

from typing import Any

import keras
from keras import ops

from flowkit.contract.arguments import whole_number
from flowkit.contract.one_line import one_line
from flowkit.engines import engine
from flowkit.training.guard import GuardedOptimizer


class TrainingDiverged(RuntimeError):
    """The gradients of several steps in a row were not finite."""

    exit_code = 1  # of a command that ends with it
    told_by_main = told_to_all = (
        True  # all processes of a group have skipped the same steps, and the main one reports
    )


class StopWhenDiverged(keras.callbacks.Callback):
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

    __repr__ = one_line

    def __init__(self, patience: int = 10) -> None:
        super().__init__()
        self.patience = whole_number(patience, "patience", least=1)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._trained = self.model  # asked in the middle of an epoch, Keras would put all weights back on JAX
        self._optimizer = guarded(self._trained.optimizer)
        if self._optimizer is None:
            raise ValueError(
                "StopWhenDiverged counts the steps that GuardedOptimizer skipped: expected a model "
                "compiled with flowkit.training.GuardedOptimizer(optimizer), received one with "
                f"{type(self.model.optimizer).__name__}."
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
                f"training stopped in epoch {self._epoch + 1}: the gradients of the last {row} "
                "steps were not finite. The weights are those before these steps; try a smaller "
                "learning rate or a longer warm-up"
            )

    def _count(self, name):
        if not self._optimizer.built:
            return 0
        return int(ops.convert_to_numpy(engine.current(self._trained, getattr(self._optimizer, name))))


def guarded(optimizer):
    """Return the `GuardedOptimizer` in a nest of wrapped optimizers, or None."""
    while optimizer is not None and not isinstance(optimizer, GuardedOptimizer):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return optimizer
