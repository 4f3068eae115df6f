"""What flowkit needs of TensorFlow beyond `keras.ops`."""

import contextlib

import keras
import tensorflow as tf

SUPPORTS_TRAINING = True


def version():
    """The engine's version."""
    return tf.__version__


def devices():
    """The devices that the engine sees, as text."""
    return [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]


def no_grad():
    """A scope in which no gradient is recorded."""
    return contextlib.nullcontext()  # TensorFlow records only inside a GradientTape


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


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call."""
    return tf.function(function, reduce_retracing=True)


def jacobian(function, x):
    """d function(x)[i] / d x[i] for each sample i: (batch, outputs, inputs), flattened events."""
    rows = []
    for row in tf.convert_to_tensor(x):
        with tf.GradientTape() as tape:
            tape.watch(row)
            y = tf.reshape(function(row[None])[0], [-1])
        jac = tape.jacobian(y, row, experimental_use_pfor=False, unconnected_gradients="zero")
        rows.append(tf.reshape(jac, [y.shape[0], -1]))
    return tf.stack(rows)


def gradients(function, tensors):
    """The scalar `function(tensors)` and its gradient with respect to each tensor of the list."""
    tensors = [tf.convert_to_tensor(t) for t in tensors]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(tensors)
    return value, tape.gradient(value, tensors, unconnected_gradients="zero")
