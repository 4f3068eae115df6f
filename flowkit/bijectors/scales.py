"""Scales made of raw numbers: above a floor, so that they cannot vanish while they are learned, and 1 at 0."""

import math
from typing import Any

import numpy as np

from flowkit.numerics import softplus

FLOOR = 1e-3
_UNIT = math.log(math.expm1(1))  # softplus of it is 1


def scale(raw: Any) -> Any:
    """FLOOR + (1 - FLOOR) softplus(raw + c) for each entry: above FLOOR, 1 at 0, and about raw if that is large.

    >>> float(scale(0.0))
    1.0
    """
    return FLOOR + (1 - FLOOR) * softplus(raw + _UNIT)


def raw_scale(value: np.ndarray) -> np.ndarray:
    """The raw numbers of which `scale` makes `value`, a numpy array above FLOOR."""
    return np.log(np.expm1((value - FLOOR) / (1 - FLOOR))) - _UNIT
