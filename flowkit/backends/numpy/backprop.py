"""Gradients that save memory: on Keras's numpy engine there are none to save it for."""


def backprop(runs, x, context, inverse, *, invert, tolerance, on_drift):
    """(y, log_det) of bijectors run one after another, whose backward pass runs each of them once more.

    Numpy has no backward pass.
    """
    total, parts = 0.0, [part for blocks in runs for block in blocks for part in block]
    for part in parts:
        x, log_det = part.run(x, context, inverse=inverse)
        total = total + log_det
    return x, total
