"""What Keras's numpy engine is, and functions that `keras.ops` has not."""

import contextlib

import numpy
import scipy.special  # comes with JAX, whose convolutions this engine borrows

SUPPORTS_TRAINING = False


def version():
    """The engine's version."""
    return numpy.__version__


def devices():
    """The devices that the engine sees, as text."""
    return ["cpu"]


def gpu_build():
    """What GPUs this build of the engine is for, as text; None for none, or if the engine itself tells of a lack."""
    return None


def no_grad():
    """A scope in which no gradient is recorded."""
    return contextlib.nullcontext()


def lgamma(x):
    """log|Gamma(x)| for each entry, in the floating-point type of `x`."""
    return scipy.special.gammaln(x)


def map_rows(function, x):
    """`function`, from one row of `x` to a tuple of tensors, for all rows: tuples of stacked tensors."""
    parts = [function(row) for row in x]
    return tuple(numpy.stack(column) for column in zip(*parts, strict=True))
