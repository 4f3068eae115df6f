"""The tensors of many variables at once."""

from keras.src.backend.common.stateless_scope import in_stateless_scope
from keras.src.backend.common.variables import get_autocast_scope
from keras.src.backend.torch.core import get_device


def values(variables):
    """`[variable.value for variable in variables]`, for weights that have been made.

    Keras looks for three scopes each time that it is asked for one: milliseconds in a training step of a small Glow.
    """
    if in_stateless_scope() or get_autocast_scope() is not None or get_device() == "meta":
        return [variable.value for variable in variables]
    return [variable._value for variable in variables]
