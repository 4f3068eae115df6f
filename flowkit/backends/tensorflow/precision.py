"""In which precision TensorFlow computes."""

import tensorflow as tf

from flowkit.backends.any.precision import float64

__all__ = ["float64", "lowest_float"]

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
