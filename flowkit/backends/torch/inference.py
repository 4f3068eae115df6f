"""How answers are computed without gradients: step by step, or through the compiler if asked."""

import os

import keras
import torch

from flowkit.backends.any.inference import as_input, compiles_answers
from flowkit.backends.torch import recording

__all__ = ["as_input", "compile_fully", "compile_inference", "compiles_answers"]


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call.

    Left eager: `torch.compile` of a deep flow costs minutes before the first answer.
    """

    def run(*args):
        with recording.answering():
            return function(*args)

    return run


def compile_fully(function, layer, *, thorough=False):
    """`function` of tensors through the engine's compiler, as a user would compile it; weights as at each call.

    `thorough` asks for all stages; the first ones alone are much quicker. Raises RuntimeError if
    the layer's own code breaks the graph in pieces.
    """
    from torch._dynamo.backends.debugging import ExplainWithBackend  # seconds, which eager use need not pay

    torch.compiler.reset()  # limits on recompilation are for each code object, which all layers share
    explained = ExplainWithBackend("inductor" if thorough else "eager")
    compiled = torch.compile(function, backend=explained, dynamic=False)

    def run(*args):
        answer = compiled(*args)
        for broken in explained.break_reasons:
            *_, last = [None, *broken.user_stack]
            own = [frame for frame in broken.user_stack if not frame.filename.startswith(_LIBRARIES)]
            # Keras itself breaks the graph in some ops, such as making a tensor of a numpy array; but not if
            # it is asked for numbers.
            asked = any(frame.name == "convert_to_numpy" for frame in broken.user_stack)
            if broken.graph_break and own and (last is own[-1] or asked):
                frame = own[-1]
                raise RuntimeError(
                    f"compiles, but not in one piece: {broken.reason.splitlines()[0]}\n"
                    f'File "{frame.filename}", line {frame.lineno}, in {frame.name}'
                )
        return answer

    return run


_LIBRARIES = tuple(os.path.dirname(module.__file__) + os.sep for module in (keras, torch))
