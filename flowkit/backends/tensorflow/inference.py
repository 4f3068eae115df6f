"""How answers are computed without gradients: as graphs."""

import tensorflow as tf

from flowkit.backends.any import recording
from flowkit.backends.any.inference import as_input, compiles_answers

__all__ = ["as_input", "compile_fully", "compile_inference", "compiles_answers"]


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


def compile_fully(function, layer, *, thorough=False):
    """`function` of tensors through the engine's compiler, as a user would compile it; weights as at each call.

    `thorough` asks for all stages; the first ones alone are much quicker.
    """
    return tf.function(function, jit_compile=True)
