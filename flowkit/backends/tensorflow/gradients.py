"""Gradients by TensorFlow's tape."""

import tensorflow as tf


def gradients(function, tensors):
    """The scalar `function(tensors)` and its gradient with respect to each tensor of the list."""
    tensors = [tf.convert_to_tensor(t) for t in tensors]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(tensors)
    return value, tape.gradient(value, tensors, unconnected_gradients="zero")


def compile_jacobian(function, layer):
    """A function (x, *args) -> d function(x)[i] / d x[i] for each sample i: (batch, outputs, inputs).

    It reads `layer`'s weights as they are at each call, and compiles once for each shape if the engine can.
    """

    def run(x, *args):
        x = tf.convert_to_tensor(x)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = tf.reshape(function(x, *args), [x.shape[0], -1])
            outputs = [tf.reduce_sum(y[:, j]) for j in range(y.shape[1])]
        rows = [tape.gradient(out, x, unconnected_gradients="zero") for out in outputs]
        return tf.stack([tf.reshape(row, [x.shape[0], -1]) for row in rows], axis=1)

    return run


def compile_gradients(function):
    """A function (tensors, *rest) -> the scalar `function(tensors, *rest)` and its gradients with respect to `tensors`.

    Compiled if the engine can.
    """
    return lambda tensors, *rest: gradients(lambda given: function(given, *rest), tensors)
