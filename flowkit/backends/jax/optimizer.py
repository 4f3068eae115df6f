"""All weights of one shape at once in an optimizer's step, where chains are loops too, on JAX.

A deep flow has thousands of weights, of some ten shapes. Written out one by one, an optimizer's step is most of the
program that XLA compiles. On CPU it stays so: XLA compiles it fast there, and stacking would copy all weights.
"""

import types

import jax
import jax.numpy as jnp
import keras

from flowkit.backends.any import optimizer as one_by_one
from flowkit.backends.any.optimizer import step_if  # noqa: F401  (a compiled step has a choice of its own)
from flowkit.backends.jax import parts, stacks


def norm_is_finite(tensors):
    """Whether the Euclidean norm of all `tensors` together is finite, and its square: a tensor of one bool."""
    return one_by_one.norm_is_finite([stack for _, stack in _stacks(tensors)] if _by_shape() else tensors)


def use_multi_tensor(optimizer):
    """Let a Keras optimizer clip and average all weights together; Keras would do so one by one.

    It also steps those of one shape together. What a subclass has written itself stays.
    """
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    if not parts.scans():
        return
    for replacement in (_clip_gradients, _update_model_variables_moving_average, _backend_update_step):
        own = getattr(type(optimizer), replacement.__name__, None)
        if getattr(own, "__module__", None) == "keras.src.optimizers.base_optimizer":
            setattr(optimizer, replacement.__name__, types.MethodType(replacement, optimizer))


def update_alike(optimizer, own, grads, variables, learning_rate):
    """`own(grads, variables, learning_rate)`: Keras's steps, one by one.

    Here as one for all weights of a shape: the step of one weight is mapped over their stack, so it is the
    optimizer's own. Those that look at a weight's name take it weight by weight.
    """
    if not _by_shape() or type(optimizer).update_step.__module__ not in _TAKE_ALL_ALIKE:
        own(grads, variables, learning_rate)
        return
    slots = _slots(optimizer)
    held = [
        [variable, *(slot[optimizer._get_variable_index(variable)] for slot in slots)]
        for variable in variables
    ]
    of_slots = {id(variable) for slot in slots for variable in slot}
    others = [(v, v.value) for v in optimizer.variables if id(v) not in of_slots]

    for places, stack in _stacks(grads):
        first = held[places[0]]

        def step(grad, values, first=first):
            with keras.StatelessScope([*others, *zip(first, values, strict=True)]) as scope:
                optimizer.update_step(grad, first[0], learning_rate)
            return [scope.get_current_value(variable) for variable in first]

        alike = [[held[place][i] for place in places] for i in range(len(first))]
        stepped = jax.vmap(step)(stack, [jnp.stack([v.value for v in some]) for some in alike])
        _assign(alike, stepped)


def _backend_update_step(optimizer, grads, variables, learning_rate):
    own = types.MethodType(type(optimizer)._backend_update_step, optimizer)
    update_alike(optimizer, own, grads, variables, learning_rate)


def _clip_gradients(optimizer, grads):
    most = optimizer.global_clipnorm
    if optimizer.clipnorm or not most or most < 0 or any(g is None for g in grads):
        return type(optimizer)._clip_gradients(optimizer, grads)
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(stack)) for _, stack in _stacks(grads)))
    scale = most / jnp.maximum(norm, most) + (norm - norm)  # NaN if the norm is not finite, as in Keras
    return [grad * scale for grad in grads]


def _update_model_variables_moving_average(optimizer, weights):
    kept = optimizer._model_variables_moving_average if optimizer.use_ema else []
    pairs = [(a, w) for a, w in zip(kept, weights, strict=False) if a is not None]
    momentum = (optimizer.iterations.value != 0) * optimizer.ema_momentum
    for places, stack in _stacks([weight.value for _, weight in pairs]):
        averages = [pairs[place][0] for place in places]
        share = jnp.asarray(momentum, stack.dtype)
        _assign([averages], [share * jnp.stack([a.value for a in averages]) + (1 - share) * stack])


def _by_shape():
    """Whether weights are stacked here: where chains are loops, unless a step was handed stacks."""
    return parts.scans() and not stacks.held()


def _stacks(tensors):
    """(places, stack) of the tensors of each shape."""
    alike = {}
    for place, tensor in enumerate(tensors):
        alike.setdefault((tensor.shape, tensor.dtype), []).append(place)
    return [(places, jnp.stack([tensors[place] for place in places])) for places in alike.values()]


def _assign(variables, stacks):
    """To each list of variables the entries of its stack."""
    for some, stack in zip(variables, stacks, strict=True):
        for i, variable in enumerate(some):
            variable.assign(jax.lax.index_in_dim(stack, i, keepdims=False))


def _slots(optimizer):
    """The lists in which an optimizer keeps a variable for each weight, but for averages and sums of gradients."""
    count = len(optimizer._trainable_variables)
    return [
        slot
        for name, slot in vars(optimizer).items()
        if name not in _NO_SLOTS
        and isinstance(slot, list)
        and len(slot) == count
        and all(isinstance(variable, keras.Variable) for variable in slot)
    ]


# `_variables` are all that an optimizer has: as many as weights only by chance.
_NO_SLOTS = (
    "_variables",
    "_trainable_variables",
    "_model_variables_moving_average",
    "_accumulated_gradients",
)

# Modules of optimizers whose step asks for a weight's numbers alone.
_TAKE_ALL_ALIKE = {f"keras.src.optimizers.{name}" for name in ("adam", "adamax", "sgd", "rmsprop")}
