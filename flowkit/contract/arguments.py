"""Arguments that are checked as they come in."""

import operator
from collections.abc import Sequence
from typing import Any


def one_of(name: str, value: Any, words: Sequence[Any]) -> Any:
    """`value`, if it is one of `words`; ValueError otherwise.

    >>> one_of("Affine's scale", "tanh", ("sigmoid", "tanh"))
    'tanh'
    """
    if value not in words:
        raise ValueError(f"{name} expects one of {', '.join(map(repr, words))}, received {shown(value)}.")
    return value


def whole_number(number: Any, name: str, *, least: int, most: int | None = None) -> int:
    """`number` as an int. Raises ValueError unless it is a whole number from `least` to `most`; True is none.

    >>> whole_number(8, "bins", least=2)
    8
    """
    try:
        found = None if isinstance(number, bool) else operator.index(number)
    except TypeError:
        found = None
    if found is None or found < least or (most is not None and found > most):
        wanted = f"from {least} up" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}: expected a whole number {wanted}, received {shown(number)}.")
    return found


def shown(value: Any) -> str:
    """`repr(value)`; of a long one the beginning.

    >>> shown("x" * 999)[-6:]
    'xxx...'
    """
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
