"""Data-dependent initialisation: the statistics, and the flag that says they were taken."""

import warnings

from keras import ops

from flowkit.contract.errors import label


def normalizing(x):
    """(shift, log_scale) for each channel, after which the batch `x` has mean 0 and variance 1.

    log_scale = -ln(sqrt(mean((x + shift)^2)) + 1e-6): as published for Glow, the deviation is the
    biased one.
    """
    axes = tuple(range(len(x.shape) - 1))
    mean = ops.mean(x, axis=axes)
    deviation = ops.sqrt(ops.mean(ops.square(x - mean), axis=axes))
    return -mean, -ops.log(deviation + 1e-6)


def warn_of_constants(layer, log_scale):
    """Warn of channels that do not vary in the batch: they are scaled by up to 1e6, and what varies later too."""
    constant = int(ops.convert_to_numpy(ops.sum(ops.cast(log_scale > 11.5, "int32"))))  # deviation < 1e-5
    if constant:
        warnings.warn(
            f"{label(layer)}: {constant} of {log_scale.shape[0]} channels do not vary in the batch that it "
            "adapts to; expected a larger batch, or data without constant columns",
            stacklevel=2,
        )


def adapted_flag(layer):
    """The weight that says whether `adapt` was called: saved with the layer, never trained.

    Its name is how `is_adapted` finds it, at any depth.
    """
    return layer.add_weight(shape=(), initializer="zeros", dtype="bool", name="adapted", trainable=False)


def is_adapted(layer):
    """False if a flag of `layer`, or of a layer inside it, says that `adapt` was not called yet."""
    flags = [v for v in layer.non_trainable_variables if v.name == "adapted"]
    return all(bool(ops.all(flag.value)) for flag in flags)
