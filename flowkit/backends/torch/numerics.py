"""PyTorch's own functions for float64, which `keras.ops` rounds to float32 there; all else goes to `keras.ops`."""

import itertools

import keras
import torch

from flowkit.backends.any.numerics import arctan, cos, sin, tanh  # noqa: F401  (exact as they are)


def cumsum(x, axis=None):
    """Sums of the first entries along an axis; None: of all entries, flattened."""
    x = keras.ops.convert_to_tensor(x)
    if axis is not None and x.is_cpu and x.is_floating_point() and 1 < x.shape[axis] <= _FEW:
        # One after another: what PyTorch does of itself turns gradients round twice, each time in memory of their own.
        parts = x.unbind(axis)
        return torch.stack(list(itertools.accumulate(parts)), axis)
    if x.dtype != torch.float64:
        return keras.ops.cumsum(x, axis=axis)
    return torch.cumsum(x.flatten(), 0) if axis is None else torch.cumsum(x, axis)


_FEW = 32


def iterate(step, times, state, alive=None):
    """`state` after `step`, a function of it, was applied so many times; fewer if `alive(state)` is no longer true.

    With `alive`, nobody may take gradients of it, and an engine may go on to the end.
    """
    # A graph made of what these rows need would stop too early for others.
    ends_early = alive is not None and not (torch.compiler.is_compiling() or torch.jit.is_tracing())
    for _ in range(times):
        if ends_early and not alive(state):
            break
        state = step(state)
    return state


def matmul(x1, x2):
    """The matrix product."""
    # float32 too: `keras.ops` takes 30 us to find out what the types are.
    if torch.is_tensor(x1) and torch.is_tensor(x2) and x1.dtype == x2.dtype in _OWN:
        return torch.matmul(x1, x2)
    x1, x2 = keras.ops.convert_to_tensor(x1), keras.ops.convert_to_tensor(x2)
    dtype = torch.promote_types(x1.dtype, x2.dtype)
    if dtype in _OWN:
        return torch.matmul(x1.to(dtype), x2.to(dtype))
    return keras.ops.matmul(x1, x2)


_OWN = (torch.float32, torch.float64)


def mean(x, axis=None, keepdims=False):
    """The mean over an axis, several, or all (None)."""
    if x.dtype != torch.float64 or axis in ((), []):  # to torch no axis is all of them
        return keras.ops.mean(x, axis=axis, keepdims=keepdims)
    return torch.mean(x, axis, keepdims)


def softplus(x):
    """log(1 + exp(x)) for each entry, exact in both tails."""
    return torch.nn.functional.softplus(x, threshold=50.0)  # beyond it, float64 too rounds to x
