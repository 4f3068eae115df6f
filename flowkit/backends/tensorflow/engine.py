"""What flowkit needs of TensorFlow beyond `keras.ops`."""

import contextlib

import keras
import tensorflow as tf

from flowkit.backends.any import recording

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


def constant(function, *args, like):
    """`function(*args)`, a numpy array that depends on nothing else, as a tensor of the type of `like`.

    For what is compiled it is a constant; nothing is kept, since a tensor of one graph must not get into another.
    """
    return keras.ops.convert_to_tensor(function(*args), dtype=like.dtype)


def convolve(x, kernel, bias):
    """`x` (batch, h, w, c) with `kernel` (k, k, c, features), k odd, plus `bias`: stride 1, zeros around, same size.

    `bias` is (features,), or a map (1, h, w, features).
    """
    if kernel.shape[0] == 1:
        return keras.ops.matmul(x, kernel[0, 0]) + bias
    y = keras.ops.conv(x, kernel, padding="same", data_format="channels_last")
    # oneDNN gives an empty batch the channels of its input.
    return tf.reshape(y, (-1, *x.shape[1:-1], kernel.shape[-1])) + bias


def rectify(x):
    """max(x, 0), if nobody else reads `x`: in its place, if the engine can."""
    return keras.ops.relu(x)


def replicas():
    """How many replicas train one model, and each see the gradients of their own samples alone."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_share(loss):
    """The share of one replica in `loss`, a mean over its own samples, if the engine adds up what replicas give."""
    return loss / replicas()


def as_input(array):
    """A numpy array or a tensor in the form in which what `compile_inference` gives takes it."""
    return keras.ops.convert_to_tensor(array)


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call."""
    compiled = {}

    def answer(*args):
        with recording.answering():
            return function(*args)

    def run(*args):
        # reduce_retracing frees every axis that varied; only the batch may, since layers read the others.
        # Autograph would wrap flowkit's errors in its own.
        events = tuple(None if t is None else tuple(t.shape[1:]) for t in tf.nest.flatten(args))
        if events not in compiled:
            compiled[events] = tf.function(answer, reduce_retracing=True, autograph=False)
        return compiled[events](*args)

    return run


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


def compile_fully(function, layer, *, thorough=False):
    """`function` of tensors through the engine's compiler, as a user would compile it; weights as at each call.

    `thorough` asks for all stages; the first ones alone are much quicker.
    """
    return tf.function(function, jit_compile=True)


_HARMLESS = ("Const", "Identity", "Placeholder", "Reshape", "ReadVariableOp", "Fill", "Shape", "StopGradient")


def lowest_float(function, *args, steps=None):
    """The name of the narrowest floating-point type in which `function(*args)` computes anything.

    `steps`, a list, receives (type, stack) for each step that answers in less than float64 without being given less:
    a stack is a list of (file, line, function), the innermost last. They are there also if the function then raises.
    """
    graph = tf.function(function, reduce_retracing=False).get_concrete_function(*args).graph
    found = set()
    for operation in graph.get_operations():
        widening = (
            operation.type == "Cast" and operation.inputs[0].dtype.size <= operation.outputs[0].dtype.size
        )
        if widening or operation.type in _HARMLESS:
            continue
        types = {out.dtype for out in operation.outputs if out.dtype.is_floating}
        found.update(types)
        given = [tensor.dtype.size for tensor in operation.inputs if tensor.dtype.is_floating]
        if steps is not None and min(given, default=8) == 8:
            stack = [(frame.filename, frame.lineno, frame.name) for frame in operation.traceback or ()]
            steps.extend((dtype.name, stack) for dtype in types if dtype.size < tf.float64.size)
    for inner in graph.as_graph_def().library.function:  # bodies of loops and branches
        kinds = {node.attr["T"].type for node in inner.node_def if node.op not in _HARMLESS}
        found.update(
            tf.dtypes.as_dtype(kind) for kind in kinds if kind and tf.dtypes.as_dtype(kind).is_floating
        )
    return min(found, key=lambda dtype: dtype.size, default=tf.float64).name


def lgamma(x):
    """log|Gamma(x)| for each entry, in the floating-point type of `x`."""
    return tf.math.lgamma(x)


def map_rows(function, x):
    """`function`, from one row of `x` to a tuple of tensors, for all rows: tuples of stacked tensors."""
    return tf.vectorized_map(function, x)
