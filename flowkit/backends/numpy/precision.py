"""In which precision numpy computes."""

from flowkit.backends.any.precision import float64

__all__ = ["float64", "lowest_float"]


def lowest_float(function, *args, steps=None):
    """Not on numpy: raises, and says where it works."""
    raise NotImplementedError("numpy keeps no record of its operations: use jax, torch or tensorflow")
