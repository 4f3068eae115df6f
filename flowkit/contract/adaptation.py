"""Data-dependent initialisation: the statistics, and the flag that says they were taken."""

from keras import ops


def normalizing(x):
    """(shift, log_scale) for each channel, after which the batch `x` has mean 0 and variance 1.

    log_scale = -ln(sqrt(mean((x + shift)^2)) + 1e-6): as published for Glow, the deviation is the
    biased one.
    """
    axes = tuple(range(len(x.shape) - 1))
    mean = ops.mean(x, axis=axes)
    deviation = ops.sqrt(ops.mean(ops.square(x - mean), axis=axes))
    return -mean, -ops.log(deviation + 1e-6)


def adapted_flag(layer):
    """The weight that says whether `adapt` was called: saved with the layer, never trained.

    Its name is how `Bijector.adapted` finds it, at any depth.
    """
    return layer.add_weight(shape=(), initializer="zeros", dtype="bool", name="adapted", trainable=False)
