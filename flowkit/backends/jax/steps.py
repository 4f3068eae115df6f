"""Weights between two steps on JAX, where Keras holds them outside of the model while it trains."""

import jax
import jax.numpy as jnp
from keras.src.backend.common.stateless_scope import in_stateless_scope

from flowkit.backends.any.steps import train_step

__all__ = ["after_fit", "current", "holds_weights", "settle", "train_step"]


def holds_weights(model):
    """Return whether the engine, between two steps, holds the weights of `model` outside of it."""
    return (
        bool(getattr(model, "_jax_state", None)) and not model._jax_state_synced and not in_stateless_scope()
    )


def settle(model):
    """Put weights that the engine holds between two steps back into `model`."""
    model.jax_state_sync()


def current(model, variable):
    """Return the value of a variable of `model`'s optimizer, also between two steps."""
    held = None if model._jax_state_synced else model._jax_state
    slots = (held or {}).get("optimizer_variables")
    if not slots:
        return variable.value
    return slots[next(i for i, one in enumerate(model.optimizer.variables) if one is variable)]


def after_fit(model):
    """Finish what `fit` has left on the device: deliver reports, and give each weight a value of its own.

    Where averages took the place of weights they share a value, and the next step may overwrite it only once.
    """
    jax.effects_barrier()
    seen = set()
    for variable in [*(model.optimizer.variables if model.optimizer else []), *model.variables]:
        if id(variable.value) in seen and not variable.value.is_deleted():
            variable.assign(jnp.copy(variable.value))
        seen.add(id(variable.value))
