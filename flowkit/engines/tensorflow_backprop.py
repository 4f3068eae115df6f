"""Gradients that save memory, on TensorFlow."""

import tensorflow as tf
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

from flowkit.engines.replay import Replay, drift
from flowkit.engines.steps import one_by_one


def backprop(stretches, x, call, *, invert, tolerance, on_drift):
    """See `Engine.backprop`."""
    parts, variables, values = map(list, zip(*one_by_one(stretches(), call.inverse, tf.unstack), strict=True))
    replay = Replay(parts, variables, call, invert)
    leaves = [*replay.shared(), *(tf.convert_to_tensor(value) for some in values for value in some)]

    @tf.custom_gradient
    def run(x, *leaves):
        anchors = [tensor for tensor in (x, *leaves) if tensor.dtype.is_floating]
        # An outer tape need not look inside.
        x, *leaves = (tf.stop_gradient(tensor) for tensor in (x, *leaves))
        shared, values = replay.unflatten(leaves)
        y, total, inputs = replay.forward(x, shared, values)
        kept = None if invert else inputs

        def pull(grad, log_det_grad):
            state = y, grad, [None] * len(shared)
            state, own = replay.backward(state, kept, shared, values, log_det_grad, _pull, _wait)
            if invert:
                _look(drift(state[0], x, y), tolerance, on_drift)
            found = [state[1], *state[2], *(grad for some in own for grad in some)]
            known = iter(_once([tensor for tensor in found if tensor is not None], anchors))
            return [None if tensor is None else next(known) for tensor in found]

        return (y, total), pull

    return run(x, *leaves)


def _pull(again, tensors, wanted, *grads):
    """See `Replay.backward`. None stands for a tensor without influence."""
    pairs = zip(tensors, wanted, strict=True)
    sources = [tensor for tensor, is_wanted in pairs if is_wanted and tensor.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        y, *outputs = again(*tensors)
    pairs = [
        (value, grad if value.shape.rank else tf.reduce_sum(grad))  # one log-det for all samples
        for value, grad in zip(outputs, grads, strict=True)
        if tf.is_tensor(value)
    ]
    values, grads = zip(*pairs, strict=True)
    found = tape.gradient(values, tensors, grads)
    return y, [None if tensor is None else tf.convert_to_tensor(tensor) for tensor in found]


def _once(grads, anchors):
    """Return `grads`, and refuse an outer tape their derivatives by `anchors`, which were constants."""

    def refuse(*_):
        raise NotImplementedError("no second derivatives through this chain: use backprop='stored'")

    @tf.custom_gradient
    def same(*tensors):
        return [tf.identity(tensor) for tensor in tensors[: len(grads)]], refuse

    return same(*grads, *anchors)


def _wait(tensors, done):
    """Return the tensors plus a zero that is not known before those of `done` are.

    Otherwise TensorFlow would compute early what depends on these alone, and hold the activations of all parts at once.
    Graphs follow the control dependency; XLA does not, but must compute a product with zero, which may be NaN.
    """
    with tf.control_dependencies(done):
        zero = 0 * tf.add_n([tf.cast(tf.reduce_sum(tf.reshape(t, [-1])[:1]), tensors[0].dtype) for t in done])
    return [
        tensor + tf.cast(zero, tensor.dtype) if tensor.dtype.is_floating else tensor for tensor in tensors
    ]


def _look(error, tolerance, on_drift):
    """Report drift. Code that XLA compiles cannot report."""
    if not tf.executing_eagerly() and GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        return

    def report():
        tf.py_function(lambda e: on_drift(float(e)), [error], [])
        return 0

    tf.cond(error <= tolerance, lambda: 0, report)
