"""What flowkit needs of Keras's numpy engine, which computes but does not differentiate."""

import contextlib

import keras
import numpy
import scipy.special  # comes with JAX, whose convolutions this engine borrows

SUPPORTS_TRAINING = False


def version():
    """The engine's version."""
    return numpy.__version__


def devices():
    """The devices that the engine sees, as text."""
    return ["cpu"]


def no_grad():
    """A scope in which no gradient is recorded."""
    return contextlib.nullcontext()


@contextlib.contextmanager
def float64():
    """A scope in which new layers and tensors are float64, whatever the session's default."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def constant(function, *args, like):
    """`function(*args)`, a numpy array that depends on nothing else, as a tensor of the type of `like`."""
    return keras.ops.convert_to_tensor(function(*args), dtype=like.dtype)


def convolve(x, kernel, bias):
    """`x` (batch, h, w, c) with `kernel` (k, k, c, features), k odd, plus `bias`: stride 1, zeros around, same size.

    `bias` is (features,), or a map (1, h, w, features).
    """
    if kernel.shape[0] == 1:
        return keras.ops.matmul(x, kernel[0, 0]) + bias
    return keras.ops.conv(x, kernel, padding="same", data_format="channels_last") + bias


def rectify(x):
    """max(x, 0), if nobody else reads `x`: in its place, if the engine can."""
    return keras.ops.relu(x)


def replicas():
    """How many replicas train one model, and each see the gradients of their own samples alone."""
    return 1


def replica_share(loss):
    """The share of one replica in `loss`, a mean over its own samples, if the engine adds up what replicas give."""
    return loss


def as_input(array):
    """A numpy array or a tensor in the form in which what `compile_inference` gives takes it."""
    return keras.ops.convert_to_tensor(array)


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call.

    It is `function` as it is: numpy compiles nothing and records no gradient.
    """
    return function


def gradients(function, tensors):
    """The scalar `function(tensors)` and its gradient with respect to each tensor of the list.

    Not on numpy: raises NotImplementedError, and says where it works.
    """
    raise NotImplementedError("numpy has no automatic differentiation: use jax, torch or tensorflow")


def compile_jacobian(function, layer):
    """Not on numpy: raises, and says where it works."""
    raise NotImplementedError("numpy has no automatic differentiation: use jax, torch or tensorflow")


def compile_gradients(function):
    """Not on numpy: raises, and says where it works."""
    raise NotImplementedError("numpy has no automatic differentiation: use jax, torch or tensorflow")


def compile_fully(function, layer, *, thorough=False):
    """Not on numpy: raises, and says where it works."""
    raise NotImplementedError("numpy has no compiler: use jax, torch or tensorflow")


def lowest_float(function, *args, steps=None):
    """Not on numpy: raises, and says where it works."""
    raise NotImplementedError("numpy keeps no record of its operations: use jax, torch or tensorflow")


def lgamma(x):
    """log|Gamma(x)| for each entry, in the floating-point type of `x`."""
    return scipy.special.gammaln(x)


def map_rows(function, x):
    """`function`, from one row of `x` to a tuple of tensors, for all rows: tuples of stacked tensors."""
    parts = [function(row) for row in x]
    return tuple(numpy.stack(column) for column in zip(*parts, strict=True))
