"""Weights after what is refreshed in training was."""

from keras import ops

from flowkit import backends

STEPS = 8
"""How many training steps' refreshing follows a jump of the weights, so that a power iteration has caught up."""


def refreshed(subject, layer, event, values):
    """`values` of the weights of a float64 layer after STEPS times of `refresh`, as float32 numbers."""
    with backends.float64():
        for variable, value in zip(layer.weights, values, strict=True):
            variable.assign(value)
        for _ in range(STEPS):
            refresh(subject, layer, event)
        return stored(layer)


def refresh(subject, layer, event):
    """What one training step refreshes in `layer`, for the batch that the checker adapts to."""
    x = subject.adapt_batch(event)
    named = {"context": None, **subject.named(layer, x.shape, subject.context(event, 0, len(x)))}
    with backends.no_grad():
        layer.run_refresh(ops.convert_to_tensor(x, dtype=layer.compute_dtype), **named)


def stored(layer):
    """All weights of a layer; float64 ones as float32 numbers."""
    values = [v.numpy() for v in layer.weights]
    return [v.astype("float32") if v.dtype == "float64" else v for v in values]
