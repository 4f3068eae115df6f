"""What flowkit needs of JAX beyond `keras.ops`."""

import contextlib

import jax
import jax.numpy as jnp
import keras

SUPPORTS_TRAINING = True


def version():
    """The engine's version."""
    return jax.__version__


def devices():
    """The devices that the engine sees, as text."""
    return [f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices()]


def no_grad():
    """A scope in which no gradient is recorded."""
    return contextlib.nullcontext()  # JAX records nothing unless asked


@contextlib.contextmanager
def float64():
    """A scope in which new layers and tensors are float64, whatever the session's default."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        with jax.enable_x64(True):
            yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call."""

    @jax.jit
    def pure(values, *args):
        with keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True))):
            return function(*args)

    def run(*args):
        return pure([variable.value for variable in layer.variables], *args)

    return run


def jacobian(function, x):
    """d function(x)[i] / d x[i] for each sample i: (batch, outputs, inputs), flattened events."""
    x = jnp.asarray(x)

    def one(row):
        return function(row[None])[0].reshape(-1)

    rows = [jax.jacrev(one)(row).reshape(-1, row.size) for row in x]
    return jnp.stack(rows)


def gradients(function, tensors):
    """The scalar `function(tensors)` and its gradient with respect to each tensor of the list."""
    return jax.value_and_grad(function)(list(tensors))
