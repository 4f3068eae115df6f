"""All weights of an optimizer in one call, on numpy."""

import keras


def all_finite(tensors):
    """Whether no entry of any of the `tensors` is NaN or infinite: a tensor of one bool."""
    return keras.ops.all(keras.ops.stack([keras.ops.all(keras.ops.isfinite(t)) for t in tensors]))


def use_multi_tensor(optimizer):
    """Not on numpy: nothing is trained there."""
