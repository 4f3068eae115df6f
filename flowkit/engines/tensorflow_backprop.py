"""Gradients that save memory, on TensorFlow."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

from flowkit.engines.steps import one_by_one


def backprop(stretches, x, context, inverse, *, invert, tolerance, on_drift):
    """See `Engine.backprop`."""
    parts, variables, values = map(list, zip(*one_by_one(stretches(), inverse, tf.unstack), strict=True))
    values = [[tf.convert_to_tensor(value) for value in some] for some in values]
    given = [] if context is None else tf.nest.flatten(context)

    def whole(leaves):
        return None if context is None else tf.nest.pack_sequence_as(context, leaves)

    def holding(some, own):
        return keras.StatelessScope(list(zip(some, own, strict=True)))

    @tf.custom_gradient
    def run(x, *leaves):
        anchors = [tensor for tensor in (x, *leaves) if tensor.dtype.is_floating]
        # An outer tape need not look inside.
        x, *leaves = (tf.stop_gradient(tensor) for tensor in (x, *leaves))
        shared, values = leaves[: len(given)], tf.nest.pack_sequence_as(variables, leaves[len(given) :])
        inputs, total = [], tf.zeros((), x.dtype)
        for part, some, own in zip(parts, variables, values, strict=True):
            inputs.append(x)
            with holding(some, own):
                x, log_det = part.run(x, whole(shared), inverse=inverse)
            total = total + log_det
        kept = [inputs[0], x] if invert else inputs

        def pull(grad, log_det_grad):
            shared_grads, own_grads = [None] * len(shared), [None] * len(parts)
            y, done = kept[-1], [grad, log_det_grad]
            for i in reversed(range(len(parts))):
                part, zero = parts[i], _zero_after(done, y.dtype)
                known = (y if invert else kept[i]) + zero
                own = [w + tf.cast(zero, w.dtype) if w.dtype.is_floating else w for w in values[i]]
                with tf.GradientTape() as tape, holding(variables[i], own):
                    start = _zeros_before(part, known, inverse) if invert else known
                    sources = [start, *shared, *own]
                    tape.watch([source for source in sources if source.dtype.is_floating])
                    if invert:
                        y, *outputs = part.rebuild(known, whole(shared), inverse=inverse, nudge=start)
                    else:
                        outputs = part.run(start, whole(shared), inverse=inverse)
                found = _pull(tape, outputs, (grad, log_det_grad), sources)
                grad, more, own_grads[i] = found[0], found[1 : 1 + len(shared)], found[1 + len(shared) :]
                shared_grads = [_sum(one, other) for one, other in zip(shared_grads, more, strict=True)]
                done = [tensor for tensor in found if tensor is not None]
            if invert:
                _look(y, *kept, tolerance, on_drift)
            found = [grad, *shared_grads, *(g for some in own_grads for g in some)]
            known = iter(_once([tensor for tensor in found if tensor is not None], anchors))
            return [None if tensor is None else next(known) for tensor in found]

        return (x, total), pull

    return run(x, *given, *tf.nest.flatten(values))


def _zeros_before(part, y, inverse):
    """Return zeros of the shape of the input of `part` for the output `y`."""
    before = part.compute_output_shape if inverse else part.compute_inverse_shape
    return tf.zeros((tf.shape(y)[0], *before(tuple(y.shape))[1:]), y.dtype)


def _pull(tape, outputs, grads, sources):
    """Return the gradients for the sources from those of `outputs`; None for a source without influence."""
    pairs = [
        (value, grad if value.shape.rank else tf.reduce_sum(grad))  # one log-det for all samples
        for value, grad in zip(outputs, grads, strict=True)
        if tf.is_tensor(value)
    ]
    values, grads = zip(*pairs, strict=True)
    found = tape.gradient(values, sources, grads)
    return [None if tensor is None else tf.convert_to_tensor(tensor) for tensor in found]


def _sum(one, other):
    return one if other is None else other if one is None else one + other


def _once(grads, anchors):
    """Return `grads`, and refuse an outer tape their derivatives by `anchors`, which were constants."""

    def refuse(*_):
        raise NotImplementedError("no second derivatives through this chain: use backprop='stored'")

    @tf.custom_gradient
    def same(*tensors):
        return [tf.identity(tensor) for tensor in tensors[: len(grads)]], refuse

    return same(*grads, *anchors)


def _zero_after(done, dtype):
    """Return a zero that is not known before the tensors of `done` are.

    It is added to the inputs of a part. Otherwise TensorFlow would compute early what depends on these alone, and hold
    the activations of all parts at once. Graphs follow the control dependency; XLA does not, but must compute a
    product with zero, which may be NaN.
    """
    with tf.control_dependencies(done):
        first = [tf.cast(tf.reduce_sum(tf.reshape(tensor, [-1])[:1]), dtype) for tensor in done]
        return 0 * tf.add_n(first)


def _look(found, known, y, tolerance, on_drift):
    """Report drift, unless the output is not finite. Code that XLA compiles cannot report."""
    if not tf.executing_eagerly() and GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        return
    tiny = tf.constant(np.finfo(known.dtype.as_numpy_dtype).tiny, known.dtype)
    error = tf.norm(found - known) / tf.maximum(tf.norm(known), tiny)
    error = tf.where(tf.math.is_finite(tf.reduce_sum(y)), error, 0)

    def report():
        tf.py_function(lambda e: on_drift(float(e)), [error], [])
        return 0

    tf.cond(error <= tolerance, lambda: 0, report)
