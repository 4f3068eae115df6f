"""Slopes that are never 0."""

import math

from flowkit.numerics import softplus

LEAST = 1e-3
"""The least slope; and the least width of a bin, as a share of all bins."""

_ONE = math.log(math.expm1(1 - LEAST))  # softplus of it, and LEAST, make 1


def slopes_of(raw):
    """Slopes above LEAST, of raw numbers of any size: of 0, the slope 1."""
    return LEAST + softplus(raw + _ONE)
