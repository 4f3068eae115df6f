"""From tensors of any engine to NumPy, and back."""

import contextlib

import numpy as np
from keras import ops

from flowkit.engines import engine


def array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def f64(tensor):
    """A tensor's numbers in float64, so that what a test works out of them adds no rounding."""
    return np.asarray(ops.convert_to_numpy(tensor), np.float64)


def tensor(array, dtype):
    return ops.convert_to_tensor(np.asarray(array, dtype), dtype=dtype)


def precision(dtype):
    """A context in which the engine computes in `dtype`: JAX needs to be told of float64."""
    return engine.float64() if dtype == "float64" else contextlib.nullcontext()
