"""The averaged weights that an optimizer with `use_ema=True` keeps, put to use for a while."""

import contextlib
from collections.abc import Iterator
from typing import Any

from keras import ops


@contextlib.contextmanager
def averaged_weights(model: Any) -> Iterator[Any]:
    """A scope in which `model` carries the moving average of its weights; exact on the way back.

    average <- m average + (1 - m) weights after each step, with m the optimizer's `ema_momentum`
    (Polyak & Juditsky, 1992). Where the optimizer keeps no average, or has not taken a step yet,
    the scope changes nothing. Keras's `SwapEMAWeights` swaps by adding and subtracting on
    TensorFlow, which rounds; here the weights are copied and put back bit for bit, so that training
    goes on as if nothing had been looked at.
    """
    optimizer = getattr(model, "optimizer", None)
    if not _keeps_average(optimizer):
        yield model
        return
    weights = list(model.trainable_variables)
    before = [ops.convert_to_numpy(weight).copy() for weight in weights]
    try:
        optimizer.finalize_variable_values(weights)
        # On JAX they now share their values with the averages, which nobody may write over.
        for weight in weights:
            weight.assign(ops.copy(weight))
        yield model
    finally:
        for weight, value in zip(weights, before, strict=True):
            weight.assign(value)


def _keeps_average(optimizer):
    if optimizer is None or not optimizer.built or int(optimizer.iterations) == 0:
        return False
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return bool(optimizer.use_ema)
