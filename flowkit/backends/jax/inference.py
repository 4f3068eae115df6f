"""How answers are computed without gradients: compiled as a whole."""

import jax
import keras

from flowkit.backends.any import recording


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
        return pure([variable.value for variable in layer.variables], *args)

    return run


def compile_fully(function, layer, *, thorough=False):
    """`function` of tensors through the engine's compiler, as a user would compile it; weights as at each call.

    `thorough` asks for all stages; the first ones alone are much quicker.
    """
    return compile_inference(function, layer)
