"""How answers are computed without gradients: compiled as a whole."""

import jax
import keras

from flowkit.backends.any import recording
from flowkit.backends.jax.group import processes


def compiles_answers():
    """Whether what `compile_inference` gives is compiled for each shape that it is asked with."""
    return True


def as_input(array):
    """A numpy array or a tensor in the form in which what `compile_inference` gives takes it."""
    return array  # a compiled program takes it as it is, in a tenth of the time


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call."""

    @jax.jit
    def pure(values, *args):
        scope = keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True)))
        with recording.answering(), scope:
            return function(*args)

    def run(*args):
        held = [variable.value for variable in layer.variables]
        # What this process holds of a weight is all of it, and its answers are then its own, whatever others ask.
        return pure([value.addressable_data(0) for value in held] if processes() > 1 else held, *args)

    return run


def compile_fully(function, layer, *, thorough=False):
    """`function` of tensors through the engine's compiler, as a user would compile it; weights as at each call.

    `thorough` asks for all stages; the first ones alone are much quicker.
    """
    return compile_inference(function, layer)
