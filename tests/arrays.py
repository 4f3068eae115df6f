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


def jacobians(function, x):
    """Return d function(x)[i] / d x[i] for each sample: (batch, outputs, inputs)."""
    x = array(x)
    outputs = int(np.prod(function(tensor(x[:1], x.dtype)).shape))
    cotangent = tensor(np.tile(np.eye(outputs), (len(x), 1)), x.dtype)

    def total(given):
        return ops.sum(ops.reshape(function(given[0]), cotangent.shape) * cotangent)

    _, (found,) = engine.gradients(total, [tensor(np.repeat(x, outputs, axis=0), x.dtype)])
    return array(found).reshape(len(x), outputs, -1)


def precision(dtype):
    """A context in which the engine computes in `dtype`: JAX needs to be told of float64."""
    return engine.float64() if dtype == "float64" else contextlib.nullcontext()
