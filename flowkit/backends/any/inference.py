"""How answers are computed without gradients."""

import keras


def compiles_answers():
    """Whether what `compile_inference` gives is compiled for each shape that it is asked with."""
    return False


def as_input(array):
    """A numpy array or a tensor in the form in which what `compile_inference` gives takes it."""
    return keras.ops.convert_to_tensor(array)
