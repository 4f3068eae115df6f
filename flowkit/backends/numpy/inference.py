"""How answers are computed: numpy compiles nothing."""

from flowkit.backends.any.inference import as_input, compiles_answers

__all__ = ["as_input", "compile_fully", "compile_inference", "compiles_answers"]


def compile_inference(function, layer):
    """`function` of tensors, without gradients; it reads `layer`'s weights as they are at each call.

    It is `function` as it is: numpy compiles nothing and records no gradient.
    """
    return function


def compile_fully(function, layer, *, thorough=False):
    """Not on numpy: raises, and says where it works."""
    raise NotImplementedError("numpy has no compiler: use jax, torch or tensorflow")
