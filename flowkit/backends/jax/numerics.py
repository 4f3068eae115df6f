"""JAX's own functions for float64, which `keras.ops` rounds to float32 there; all else goes to `keras.ops`."""

import jax
import jax.numpy as jnp
import keras

from flowkit.backends.any.numerics import cumsum, matmul  # noqa: F401  (exact as they are)


def arctan(x):
    """arctan x for each entry."""
    return _keep(jnp.arctan, keras.ops.arctan, x)


def cos(x):
    """cos x for each entry."""
    return _keep(jnp.cos, keras.ops.cos, x)


def iterate(step, times, state):
    """`state` after `step`, a function of it, was applied so many times."""
    if isinstance(jnp.zeros(()), jax.core.Tracer):  # part of what is compiled
        return keras.ops.fori_loop(0, times, lambda _, state: step(state), state)
    for _ in range(times):  # by itself JAX's loop compiles anew in each call, for a large part of a second
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
