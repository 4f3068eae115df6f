"""An optimizer whose weights are stacks of another's weights, on JAX.

Keras's own step then moves a stack as if it were one weight. That is the same for optimizers that move each entry by
itself.
"""

import types

import keras

# Modules of Keras's optimizers that move each entry by itself.
_BY_ENTRY = {
    f"keras.src.optimizers.{name}"
    for name in ("adam", "adamw", "adamax", "sgd", "rmsprop", "loss_scale_optimizer")
}


def moves_entries(optimizer):
    """Whether an optimizer moves each entry by itself: Keras's that do, and classes that say so themselves."""
    if type(optimizer).__module__ not in _BY_ENTRY and not vars(type(optimizer)).get("moves_entries"):
        return False
    inner = getattr(optimizer, "inner_optimizer", None)
    return not optimizer.clipnorm and (inner is None or moves_entries(inner))


def may_lie_together(optimizer, weights):
    """Whether `weights`, which are alike, may be one weight of the optimizer's."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    special = any(
        weight.constraint is not None or getattr(weight, "overwrite_with_gradient", False)
        for weight in weights
    )
    return not special and len({optimizer._use_weight_decay(weight) for weight in weights}) == 1


def twin(optimizer, groups):
    """(a copy of `optimizer` for stacks of the weights in `groups`, as places; the groups of its own variables).

    None for the copy if it keeps something of a weight elsewhere than in a list with one for each.
    """
    members = {}  # id of a variable of the copy: those whose values it stacks
    copy = _copy(optimizer, groups, members, {})
    places = {id(variable): place for place, variable in enumerate(optimizer.variables)}
    own = [
        tuple(places[id(one)] for one in members.get(id(variable), [variable])) for variable in copy.variables
    ]
    known = sorted(place for group in own for place in group) == list(range(len(places)))
    return (copy if known else None), own


def _copy(optimizer, groups, members, made):
    copy = object.__new__(type(optimizer))
    copied = vars(copy)
    count = len(optimizer._trainable_variables)

    def stacked(variables):
        return [_stand_in([variables[place] for place in group], members, made) for group in groups]

    for name, value in vars(optimizer).items():
        if isinstance(value, types.MethodType) and value.__self__ is optimizer:
            continue  # steps that `use_multi_tensor` has put in the place of the class's
        if name == "inner_optimizer":
            value = _copy(value, groups, members, made)
        elif isinstance(value, list) and len(value) == count and name != "_variables":
            value = stacked(value)
        copied[name] = value
    weights = copied["_trainable_variables"]
    copied["_trainable_variables_indices"] = {id(weight): i for i, weight in enumerate(weights)}
    copied["_variables"] = list(
        {id(v): v for v in (made.get(id(v), v) for v in optimizer._variables)}.values()
    )
    copied["_exclude_from_weight_decay_cache"] = {
        id(weight): optimizer._use_weight_decay(members.get(id(weight), [weight])[0]) for weight in weights
    }
    return copy


def _stand_in(variables, members, made):
    """One variable for those of a group; it never has a value but in a scope."""
    first = variables[0]
    if len(variables) == 1:
        return first
    if id(first) not in made:
        shape = (len(variables), *first.shape)
        whole = keras.Variable(initializer="zeros", shape=shape, dtype=first.dtype, name=first.name)
        whole._value = None
        members[id(whole)] = variables
        made.update({id(variable): whole for variable in variables})
    return made[id(first)]
