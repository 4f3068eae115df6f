"""How answers are computed without gradients."""

import keras


def as_input(array):
    """A numpy array or a tensor in the form in which what `compile_inference` gives takes it."""
    return keras.ops.convert_to_tensor(array)
