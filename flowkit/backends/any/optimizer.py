"""All weights of an optimizer at once, on engines whose compiled step is one program."""

import keras


def all_finite(tensors):
    """Whether no entry of any of the `tensors` is NaN or infinite: a tensor of one bool."""
    return keras.ops.all(keras.ops.stack([keras.ops.all(keras.ops.isfinite(t)) for t in tensors]))


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
