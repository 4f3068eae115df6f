"""Average the statistics that training moves, as an optimizer averages the weights that it trains."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def averaging(optimizer: Any) -> keras.Optimizer | None:
    """Return the optimizer, inside of those around it, that keeps an average of the weights; None if it does not."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer if optimizer is not None and optimizer.use_ema else None


class Averages:
    """average <- m average + (1 - m) statistic after each step, with m the optimizer's `ema_momentum`.

    Statistics are the weights of floats that are not trained, such as mean and variance of a `BatchNorm`. They belong
    to the weights of the step, and would normalise with the averaged weights by wrong numbers. An average is infinite
    until the first step. The optimizer puts these averages in place together with its own. A model that is not built,
    or whose optimizer averages nothing, has none.
    """

    def __init__(self, model: keras.Model) -> None:
        self._statistics: list[keras.Variable] = []
        self.variables: list[keras.Variable] = []
        optimizer = averaging(getattr(model, "optimizer", None))
        if model is None or optimizer is None:
            return
        floats = [w for w in model.non_trainable_weights if keras.backend.is_float_dtype(w.dtype)]
        self._momentum, self._statistics = optimizer.ema_momentum, floats
        # Not NaN: JAX compares the values of all processes, and NaN differs from itself.
        unknown = keras.initializers.Constant(math.inf)
        self.variables = [
            keras.Variable(unknown, tuple(w.shape), w.dtype, trainable=False, name=f"average_{number}")
            for number, w in enumerate(floats)
        ]
        model.optimizer.finalize_variable_values = functools.partial(_finalize, model.optimizer, self)

    def update(self) -> None:
        """Move the averages towards the statistics of this step. A weight that never changes is its own average."""
        for average, known, statistic in zip(self.variables, self._known(), self._statistics, strict=True):
            average.assign(known + (1 - self._momentum) * (statistic.value - known))

    def put(self) -> None:
        """Assign the averages to the statistics."""
        for statistic, value in zip(self._statistics, self._known(), strict=True):
            statistic.assign(value)

    def _known(self):
        both = [(a.value, s.value) for a, s in zip(self.variables, self._statistics, strict=True)]
        return [ops.where(ops.isfinite(average), average, statistic) for average, statistic in both]


def _finalize(optimizer: Any, averages: Averages, weights: Sequence[keras.Variable]) -> None:
    """Do what the optimizer's class does at the end of `fit`, and assign the averages of statistics."""
    type(optimizer).finalize_variable_values(optimizer, weights)
    averages.put()
