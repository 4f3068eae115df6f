"""JAX's own functions for float64, which `keras.ops` rounds to float32 there; all else goes to `keras.ops`."""

import jax
import jax.numpy as jnp
import keras

from flowkit.backends.any.numerics import cumsum, matmul, softplus  # noqa: F401  (exact as they are)
from flowkit.backends.any.numerics import iterate as any_iterate


def arctan(x):
    """arctan x for each entry."""
    return _keep(jnp.arctan, keras.ops.arctan, x)


def cos(x):
    """cos x for each entry."""
    return _keep(jnp.cos, keras.ops.cos, x)


def iterate(step, times, state, alive=None):
    """`state` after `step`, a function of it, was applied so many times; fewer if `alive(state)` is no longer true.

    With `alive`, nobody may take gradients of it, and an engine may go on to the end.
    """
    if isinstance(jnp.zeros(()), jax.core.Tracer):  # part of what is compiled
        return any_iterate(step, times, state, alive)
    for _ in range(times):  # by itself JAX's loop compiles anew in each call, for a large part of a second
        if alive is not None and not alive(state):
            break
        state = step(state)
    return state


def mean(x, axis=None, keepdims=False):
    """The mean over an axis, several, or all (None)."""
    return _keep(jnp.mean, keras.ops.mean, x, axis=axis, keepdims=keepdims)


def sin(x):
    """sin x for each entry."""
    return _keep(jnp.sin, keras.ops.sin, x)


def tanh(x):
    """tanh x for each entry."""
    return _keep(jnp.tanh, keras.ops.tanh, x)


def _keep(own, op, x, **options):
    return (own if x.dtype == "float64" else op)(x, **options)
