"""Gradients, of which numpy has none."""


def gradients(function, tensors):
    """The scalar `function(tensors)` and its gradient with respect to each tensor of the list.

    Not on numpy: raises NotImplementedError, and says where it works.
    """
    raise NotImplementedError("numpy has no automatic differentiation: use jax, torch or tensorflow")


def compile_jacobian(function, layer):
    """Not on numpy: raises, and says where it works."""
    raise NotImplementedError("numpy has no automatic differentiation: use jax, torch or tensorflow")


def compile_gradients(function):
    """Not on numpy: raises, and says where it works."""
    raise NotImplementedError("numpy has no automatic differentiation: use jax, torch or tensorflow")
