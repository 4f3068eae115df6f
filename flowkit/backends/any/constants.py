"""Numbers that nothing changes, as tensors."""

import keras


def constant(function, *args, like):
    """`function(*args)`, a numpy array that depends on nothing else, as a tensor of the type of `like`.

    For what is compiled it is a constant; nothing is kept, since a tensor of one trace must not get into another.
    """
    return keras.ops.convert_to_tensor(function(*args), dtype=like.dtype)
