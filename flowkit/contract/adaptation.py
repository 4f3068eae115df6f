"""Data-dependent initialisation: the statistics, and the flag that says they were taken."""

import keras
from keras import ops

from flowkit.contract.errors import ContractError
from flowkit.contract.inside import keras_layers


def normalizing(x):
    """Return (shift, log_scale) for each channel, after which the batch `x` has mean 0 and variance 1.

    log_scale = -ln(sqrt(mean((x + shift)^2)) + 1e-6): as published for Glow, the deviation is the
    biased one.
    """
    axes = tuple(range(len(x.shape) - 1))
    mean = ops.mean(x, axis=axes)
    deviation = ops.sqrt(ops.mean(ops.square(x - mean), axis=axes))
    return -mean, -ops.log(deviation + 1e-6)


def adapted_flag(layer):
    """Return the weight that says whether `adapt` was called: saved with the layer, never trained.

    Its name is how `adapted_flags` finds it, at any depth.
    """
    return layer.add_weight(shape=(), initializer="zeros", dtype="bool", name="adapted", trainable=False)


def adapted_flags(layer):
    """Return the flags of `layer` and of the layers inside it; that of a `Repeat` has an entry for each copy."""
    return [v for v in layer.non_trainable_variables if v.name.endswith("adapted")]


def is_adapted(layer):
    """Return False if a flag of `layer`, or of a layer inside it, says that `adapt` was not called yet.

    Raises what `convert_to_numpy` raises if the flags have no values at the moment, as in a step of another model.
    """
    return all(map(_is_set, adapted_flags(layer)))


def _is_set(flag):
    try:
        return bool(ops.convert_to_numpy(flag.value).all())
    except (TypeError, NotImplementedError, RuntimeError):  # a traced value stands for it
        with keras.StatelessScope(initialize_variables=False):  # in which the variable has its own again
            return bool(ops.convert_to_numpy(flag.value).all())


def mark_adapted(layer):
    """Set all flags of `layer` and of the layers inside it: the statistics came with the weights."""
    for flag in adapted_flags(layer):
        flag.assign(ops.ones(flag.shape, "bool"))


def waits_for_adapt(layer):
    """Return the error for a layer that was not adapted."""
    wanted, received = "data-dependent weights set by adapt(x)", "a layer that has seen no data"
    hint = "Call .adapt(first_batch), or fit the flow, which does."
    return ContractError("adapted", layer, expected=wanted, received=received, hint=hint)


def adapt_layer(layer, adapt, ask, again=True):
    """Adapt `layer`: `adapt()` calls the `adapt` that it has; otherwise `ask()` calls it, for the sake of those inside.

    `again=False` leaves alone what was adapted before.
    """
    if not again and is_adapted(layer):
        return
    if hasattr(layer, "adapt"):
        adapt()
    else:
        adapt_inside(layer, ask, again)


def adapt_inside(layer, ask, again):
    """Call `ask()`, in which each layer inside `layer` that is flagged adapts to what it is the first to be given."""
    layers = keras_layers(layer, include_self=False)
    flagged = [inner for inner in layers if hasattr(inner, "adapt") and adapted_flags(inner)]
    # A layer that holds others passes the batch on to them.
    held = {id(part) for inner in flagged for part in keras_layers(inner, include_self=False)}
    waiting = [inner for inner in flagged if id(inner) not in held and (again or not is_adapted(inner))]
    if not waiting:
        return
    for inner in waiting:
        vars(inner)["call"] = _adapting_call(inner)
    try:
        ask()
    finally:
        for inner in waiting:
            vars(inner).pop("call", None)


def _adapting_call(layer):
    """Return a replacement of `layer.call` for its first call, which adapts the layer."""

    def call(*given, **options):
        vars(layer).pop("call", None)
        layer.adapt(*given, **{name: value for name, value in options.items() if name == "context"})
        return layer.call(*given, **options)

    return call
