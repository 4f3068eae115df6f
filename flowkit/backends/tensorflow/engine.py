"""What TensorFlow is: its version, its devices, and functions that `keras.ops` has not."""

import contextlib

import tensorflow as tf

SUPPORTS_TRAINING = True


def version():
    """The engine's version."""
    return tf.__version__


def devices():
    """The devices that the engine sees, as text."""
    return [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]


def gpu_build():
    """What GPUs this build of the engine is for, as text; None for none, or if the engine itself tells of a lack."""
    return None


def no_grad():
    """A scope in which no gradient is recorded."""
    return contextlib.nullcontext()  # TensorFlow records only inside a GradientTape


def lgamma(x):
    """log|Gamma(x)| for each entry, in the floating-point type of `x`."""
    return tf.math.lgamma(x)


def map_rows(function, x):
    """`function`, from one row of `x` to a tuple of tensors, for all rows: tuples of stacked tensors."""
    return tf.vectorized_map(function, x)
