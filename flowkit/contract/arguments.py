"""Arguments that are checked as they come in."""

import math
import numbers
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
    except (TypeError, AttributeError):  # the latter of a truth value of TensorFlow
        found = None
    if found is None or found < least or (most is not None and found > most):
        wanted = f"from {least} up" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}: expected a whole number {wanted}, received {shown(number)}.")
    return found


def whole_or_none(number: Any, name: str, *, least: int) -> int | None:
    """`number` as an int, or None. Raises ValueError for all but whole numbers from `least` up.

    >>> whole_or_none(None, "Permute's seed", least=0) is None
    True
    """
    return None if number is None else whole_number(number, name, least=least)


def whole_numbers(values: Any, name: str, *, least: int = 0) -> list[int]:
    """A list of ints. Raises ValueError for what is no list, and for numbers that are no whole ones from `least` up.

    >>> whole_numbers(range(3), "Permute's order")
    [0, 1, 2]
    """
    try:
        entries = None if isinstance(values, str) else list(values)
    except TypeError:  # a single number, of an array too
        entries = None
    if entries is None:
        raise ValueError(f"{name}: expected a list of whole numbers, received {shown(values)}.")
    return [whole_number(number, f"{name}, an entry", least=least) for number in entries]


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number, as an array without axes may be too; True and "1" are none.

    >>> is_number(0.5), is_number("1"), is_number(float("nan"))
    (True, False, False)
    """
    if isinstance(value, bool):
        return False
    if not isinstance(value, numbers.Real):  # a tensor or a weight, such as the largest of some data
        kind = str(getattr(value, "dtype", ""))
        if getattr(value, "shape", None) != () or not ("float" in kind or "int" in kind):
            return False
    try:
        return math.isfinite(value)
    except (TypeError, ValueError):  # a time, or a tensor that has no value yet
        return False


def positive(number: Any, name: str) -> float:
    """`number` as a float. Raises ValueError unless it is finite and above 0.

    >>> positive(3, "StudentT's df")
    3.0
    """
    if not (is_number(number) and number > 0):
        raise ValueError(f"{name}: expected a finite number above 0, received {shown(number)}.")
    return float(number)


def widths(hidden: Any, name: str) -> list[int]:
    """The widths of hidden layers as a list. Raises ValueError unless they are a list of whole numbers from 1 up.

    >>> widths((64, 64), "MLP's hidden")
    [64, 64]
    """
    if not isinstance(hidden, (list, tuple)) or not hidden:
        raise ValueError(f"{name}: expected a list of widths, such as [64, 64], received {shown(hidden)}.")
    return [whole_number(width, f"{name}, a width", least=1) for width in hidden]


def shown(value: Any) -> str:
    """`repr(value)`; of a long one the beginning.

    >>> shown("x" * 999)[-6:]
    'xxx...'
    """
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
