"""Numbers that an architecture is made by: out of range, they would fail late, or make no flow at all."""

import math

import numpy as np


def whole(name: str, value: object, most: int) -> None:
    """Raise a ValueError unless `value` is a whole number in 1..most."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (is_whole and 1 <= value <= most):
        raise ValueError(f"{name}: expected a whole number in 1..{most}, received {shown(value)}.")


def between(name: str, value: object, least: float, most: float) -> None:
    """Raise a ValueError unless `value` is a number in least..most."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and least <= value <= most):
        raise ValueError(f"{name}: expected a number in {least:g}..{most:g}, received {shown(value)}.")


def shape(name: str, value: object) -> None:
    """Raise a ValueError unless `value` is the shape of an image."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"{name}: expected (height, width, channels), received {shown(value)}.")
    for side in value:
        whole(f"each of {name}", side, most=2**20)


def shown(value: object) -> str:
    """`repr(value)`, where that is long its beginning."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
