"""Steps that fail on JAX, where Keras takes the weights out of the model while it trains.

Keras hands them to the step, which may write over them, and puts the step's answer back when an epoch ends. A step that
raises gives no answer: the model would be left without weights, and what Keras does at the end of `fit` would fail on
that and hide the error itself.
"""

import itertools

import jax
import jax.numpy as jnp
from keras.src.backend.common.stateless_scope import in_stateless_scope


def giving_back(step, model):
    """`step(state, iterator)` of Keras's trainer; if it raises, `model` gets its weights back, unless they are gone."""

    def guarded(state, iterator):
        try:
            first = next(iterator)  # beforehand, since a source may take its time to say that it has no more
            return step(state, itertools.chain([first], iterator))
        except BaseException as error:
            if not isinstance(error, StopIteration):  # which says that the data have ended
                model._step_error = error
            _put_back(model, state)
            raise

    for name in ("look", "forget"):  # of what is around Keras's function for training steps
        if hasattr(step, name):
            setattr(guarded, name, getattr(step, name))
    return guarded


def holds_weights(model):
    """Whether the engine holds the weights of `model`, between two steps, and no other values stand for them."""
    held = getattr(model, "_jax_state", None)
    return bool(held) and not model._jax_state_synced and not in_stateless_scope()


def settle(model):
    """Between two steps: put weights that the engine holds back into `model`. Raises RuntimeError if they are lost."""
    model.jax_state_sync()
    if model._weights_lost:
        if any(variable._value is None for variable in _variables(model)):
            raise RuntimeError(
                f"the weights of {model.name!r} were lost when a step failed on the device, which had begun to write "
                "over them: make the flow anew, load it from a file, or have flowkit.training.Resume load its "
                "checkpoint."
            )
        model._weights_lost = False  # somebody has brought all of them back


def current(model, variable):
    """The value of a variable of `model`'s optimizer, also between two steps; the other weights stay where they are."""
    held = None if model._jax_state_synced else model._jax_state
    slots = (held or {}).get("optimizer_variables")
    if not slots:
        return variable.value
    return slots[next(i for i, one in enumerate(model.optimizer.variables) if one is variable)]


def unshare(model):
    """When `fit` has ended: a value of its own for each weight, where averages were put in place.

    Steps and evaluations write over the values that they are handed.
    """
    seen = set()
    for variable in _variables(model):
        value = variable._value
        if id(value) in seen and value is not None and not value.is_deleted():
            variable.assign(jnp.copy(value))
        seen.add(id(value))


def _variables(model):
    optimizer = getattr(model, "optimizer", None)
    return [*(optimizer.variables if optimizer else []), *model.variables]


def _put_back(model, state):
    kinds = [model.trainable_variables, model.non_trainable_variables]
    if len(state) == 4:
        kinds.append(model.optimizer.variables)
    if len(state) > 2:
        kinds.append(model.metrics_variables)
    for variable, value in (pair for pairs in map(zip, kinds, state) for pair in pairs):
        if isinstance(value, jax.Array) and value.is_deleted():
            model._weights_lost = True
            variable._value = None
        elif variable._value is None:
            variable.assign(value)
    # What Keras still holds is of an earlier step, or of another method: it would put that in the place of these.
    model._jax_state, model._jax_state_synced = None, True
