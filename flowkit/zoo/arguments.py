"""Numbers that an architecture is made by: out of range, they would fail late, or make no flow at all."""

from typing import Any

from flowkit.contract.arguments import is_number, shown, whole_number


def number(value: Any, name: str, *, least: float, most: float) -> None:
    """Raise a ValueError unless `value` is a number from `least` to `most`."""
    if not (is_number(value) and least <= value <= most):
        raise ValueError(f"{name}: expected a number from {least:g} to {most:g}, received {shown(value)}.")


def image_shape(value: object, name: str) -> None:
    """Raise a ValueError unless `value` is the shape of an image."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"{name}: expected (height, width, channels), received {shown(value)}.")
    for side in value:
        whole_number(side, f"each of {name}", least=1, most=2**20)
