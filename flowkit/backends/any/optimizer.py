"""All weights of an optimizer at once, on engines whose compiled step is one program."""

import keras


def norm_is_finite(tensors):
    """Whether the Euclidean norm of all `tensors` together is finite, and its square: a tensor of one bool."""
    tensors = [keras.ops.convert_to_tensor(tensor) for tensor in tensors]
    double = any(keras.backend.standardize_dtype(tensor.dtype) == "float64" for tensor in tensors)
    wide = [keras.ops.cast(tensor, "float64" if double else "float32") for tensor in tensors]
    return keras.ops.isfinite(sum(keras.ops.sum(keras.ops.square(tensor)) for tensor in wide))


def use_multi_tensor(optimizer):
    """Let a Keras optimizer clip and average all weights together; Keras would do so one by one.

    Nothing to do here.
    """


def step_if(taken, optimizer, grads, variables):
    """Let `optimizer` step if `taken`, a tensor of one bool, and answer True; or leave it to who can wait for it."""
    return False


def update_alike(optimizer, own, grads, variables, learning_rate):
    """`own(grads, variables, learning_rate)`: Keras's steps, one by one."""
    own(grads, variables, learning_rate)
