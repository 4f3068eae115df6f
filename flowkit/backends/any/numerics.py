"""Functions as `keras.ops` has them, for the engines and the functions where that keeps float64."""

import keras


def arctan(x):
    """arctan x for each entry."""
    return keras.ops.arctan(x)


def cos(x):
    """cos x for each entry."""
    return keras.ops.cos(x)


def cumsum(x, axis=None):
    """Sums of the first entries along an axis; None: of all entries, flattened."""
    return keras.ops.cumsum(x, axis=axis)


def iterate(step, times, state, alive=None):
    """`state` after `step`, a function of it, was applied so many times; fewer if `alive(state)` is no longer true.

    With `alive`, nobody may take gradients of it, and an engine may go on to the end.
    """
    if alive is not None:
        return keras.ops.while_loop(
            lambda k, state: keras.ops.logical_and(k < times, alive(state)),
            lambda k, state: (k + 1, step(state)),
            (keras.ops.convert_to_tensor(0), state),
        )[1]
    return keras.ops.fori_loop(0, times, lambda _, state: step(state), state)


def matmul(x1, x2):
    """The matrix product."""
    return keras.ops.matmul(x1, x2)


def mean(x, axis=None, keepdims=False):
    """The mean over an axis, several, or all (None)."""
    return keras.ops.mean(x, axis=axis, keepdims=keepdims)


def sin(x):
    """sin x for each entry."""
    return keras.ops.sin(x)


def softplus(x):
    """log(1 + exp(x)) for each entry, exact in both tails."""
    return -keras.ops.log_sigmoid(-x)


def tanh(x):
    """tanh x for each entry."""
    return keras.ops.tanh(x)
