"""Use the averaged weights that an optimizer with `use_ema=True` keeps, for a while."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[Any]:
    """Give `model` the moving average of its weights in a block, and put its weights back bit for bit.

    average <- m average + (1 - m) weights after each step, with m the optimizer's `ema_momentum` (Polyak & Juditsky,
    1992). If the optimizer keeps no average, or has not taken a step yet, nothing changes. Keras's `SwapEMAWeights`
    swaps by adding and subtracting on TensorFlow, which rounds.
    """
    optimizer: Any = getattr(model, "optimizer", None)
    if not _keeps_average(optimizer):
        yield model
        return
    weights = list(model.trainable_variables)
    before = [ops.convert_to_numpy(weight).copy() for weight in weights]
    try:
        optimizer.finalize_variable_values(weights)
        # On JAX they now share their values with the averages, which must not be overwritten.
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
