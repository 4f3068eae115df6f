"""Gradients that save memory: on Keras's numpy engine there are none to save it for."""

import keras

from flowkit.backends.any.stretches import one_by_one


def backprop(stretches, x, context, inverse, *, invert, tolerance, on_drift):
    """(y, log_det) of bijectors run one after another, whose backward pass runs each of them once more.

    Numpy has no backward pass.
    """
    total = 0.0
    for part, variables, values in one_by_one(stretches, inverse):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            x, log_det = part.run(x, context, inverse=inverse)
        total = total + log_det
    return x, total
