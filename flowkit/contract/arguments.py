"""Rules for arguments, declared in annotations: `factor: Positive = 3.0`, `bins: Annotated[int, whole(2, 999)] = 8`.

A rule is a function (value, name) that returns the value or raises an error with that name. `checked` applies the rules
of a function's signature; `flowkit.contract.configured.Configured` does it for every `__init__`.
"""

import functools
import inspect
import math
import numbers
import operator
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ParamSpec, TypeVar

LARGEST = 2**20
"""The limit of a count that has none of its own: more would fail late, for lack of memory."""


def one_of(name: str, value: Any, words: Sequence[Any]) -> Any:
    """Return `value`. Raises ValueError unless it is one of `words`.

    >>> one_of("Affine's scale", "tanh", ("sigmoid", "tanh"))
    'tanh'
    """
    if value not in words:
        raise ValueError(f"{name}: got {shown(value)}, expected one of {', '.join(map(repr, words))}.")
    return value


def whole_number(number: Any, name: str, *, least: int, most: int | None = None) -> int:
    """Return `number` as an int. Raises ValueError unless it is a whole number from `least` to `most`, not a bool.

    >>> whole_number(8, "bins", least=2)
    8
    """
    try:
        found = None if isinstance(number, bool) else operator.index(number)
    except (TypeError, AttributeError):  # AttributeError for a bool tensor of TensorFlow
        found = None
    above = found is not None and most is not None and found > most
    if found is None or found < least or above:
        limited = above or (most is not None and most != LARGEST)
        wanted = f"from {least} to {most}" if limited else f"from {least} up"
        raise ValueError(f"{name}: got {shown(number)}, expected a whole number {wanted}.")
    return found


def whole_numbers(values: Any, name: str) -> list[int]:
    """Return a list of ints. Raises ValueError unless `values` is a list of whole numbers from 0 up.

    >>> whole_numbers(range(3), "Permute's order")
    [0, 1, 2]
    """
    entries = _entries(values)
    if entries is None:
        raise ValueError(f"{name}: got {shown(values)}, expected a list of whole numbers.")
    return [whole_number(number, f"{name}, an entry", least=0) for number in entries]


def whole_lists(values: Any, name: str) -> list[list[int]]:
    """Return lists of ints. Raises ValueError unless `values` is a list of lists of whole numbers from 0 up.

    >>> whole_lists([(0, 2), [1]], "Joint's places")
    [[0, 2], [1]]
    """
    lists = _entries(values)
    return [whole_numbers(some, name) for some in ([values] if lists is None else lists)]


def _entries(values):
    """Return the entries of what can be listed; None for a word or a single number, perhaps in an array."""
    try:
        return None if isinstance(values, str) else list(values)
    except TypeError:
        return None


def is_number(value: Any) -> bool:
    """Return True for a finite number, also as an array without axes; False for True and "1".

    >>> is_number(0.5), is_number("1"), is_number(float("nan"))
    (True, False, False)
    """
    if isinstance(value, bool):
        return False
    if not isinstance(value, numbers.Real):  # a tensor or a weight, such as the maximum of some data
        kind = str(getattr(value, "dtype", ""))
        if getattr(value, "shape", None) != () or not ("float" in kind or "int" in kind):
            return False
    try:
        return math.isfinite(value)
    except (TypeError, ValueError):  # a time, or a symbolic tensor
        return False


def widths(hidden: Any, name: str) -> list[int]:
    """Return the widths of hidden layers as a list. Raises ValueError unless they are whole numbers from 1 up.

    >>> widths((64, 64), "MLP's hidden")
    [64, 64]
    """
    if not isinstance(hidden, (list, tuple)) or not hidden:
        raise ValueError(f"{name}: got {shown(hidden)}, expected a list of widths, such as [64, 64].")
    return [whole_number(width, f"{name}, a width", least=1, most=LARGEST) for width in hidden]


def shown(value: Any) -> str:
    """Return `repr(value)`, cut after 80 characters.

    >>> shown("x" * 999)[-6:]
    'xxx...'
    """
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# Rules

Rule = Callable[[Any, str], Any]
P = ParamSpec("P")
R = TypeVar("R")


def whole(least: int, most: int | None = LARGEST) -> Rule:
    """Return the rule of a whole number from `least` to `most`."""
    return functools.partial(whole_number, least=least, most=most)


def real(low: float, high: float, wanted: str, ends: str = "[]") -> Rule:
    """Return the rule of a number from `low` to `high`, as a float; a round bracket in `ends` leaves out that end.

    >>> real(0, 1, "a number in [0, 1)", "[)")(1.0, "momentum")
    Traceback (most recent call last):
    ValueError: momentum: got 1.0, expected a number in [0, 1).
    """

    def rule(value, name):
        above = is_number(value) and (value > low or (ends[0] == "[" and value == low))
        if not (above and (value < high or (ends[1] == "]" and value == high))):
            raise ValueError(f"{name}: got {shown(value)}, expected {wanted}.")
        return float(value)

    return rule


def words(*known: Any) -> Rule:
    """Return the rule of a value that is one of `known`."""
    return lambda value, name: one_of(name, value, known)


def instance(kind: type, what: str, error: type[Exception] = TypeError) -> Rule:
    """Return the rule of an instance of `kind`, named `what` in the `error`."""

    def rule(value, name):
        if not isinstance(value, kind):
            raise error(f"{name}: got {shown(value)}, expected {what}.")
        return value

    return rule


def listed(kind: type, what: str) -> Rule:
    """Return the rule of a list of instances of `kind`, or of None in their place if `kind` allows it."""

    def rule(values, name):
        entries = None if isinstance(values, kind) else _entries(values)
        if entries is None:
            raise TypeError(f"{name}: got {shown(values)}, expected a list of {what}.")
        for entry in entries:
            if not isinstance(entry, kind):
                call = f" Call the class, {entry.__name__}(...)." if isinstance(entry, type) else ""
                raise TypeError(f"{name}: got the entry {shown(entry)}, expected a list of {what}.{call}")
        return entries

    return rule


def truth(value: Any, name: str) -> bool:
    """Return `value` as a bool. Raises ValueError unless it is True or False."""
    if type(value).__name__ not in ("bool", "bool_"):  # the latter is numpy's
        raise ValueError(f"{name}: got {shown(value)}, expected True or False.")
    return bool(value)


positive = real(0, math.inf, "a finite number above 0", "(]")
Count = Annotated[int, whole(1)]
Blocks = Annotated[int, whole(1, 1024)]
Seed = Annotated[int, whole(0, None)]
Number = Annotated[float, real(-math.inf, math.inf, "a finite number")]
Positive = Annotated[float, positive]
Fraction = Annotated[float, real(0, 1, "a number in [0, 1)", "[)")]
Between0And1 = Annotated[float, real(0, 1, "a number between 0 and 1", "()")]
Widths = Annotated[Sequence[int], widths]
Wholes = Annotated[Sequence[int], whole_numbers]
WholeLists = Annotated[Sequence[Sequence[int]], whole_lists]
ContextWord = Annotated[str, words("none", "optional", "required")]


def rule_of(annotation: Any) -> Rule | None:
    """Return the rule that an annotation declares, or None.

    >>> rule_of(Count | None)(None, "n"), rule_of(Count | None)(3, "n"), rule_of(int)
    (None, 3, None)
    """
    if typing.get_origin(annotation) is Annotated:
        return next((extra for extra in annotation.__metadata__ if callable(extra)), None)
    if annotation is bool:
        return truth
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return None
    kinds = typing.get_args(annotation)
    text = next((kind for kind in kinds if str in (kind, getattr(kind, "__origin__", None))), None)
    other = next((rule for rule in map(rule_of, [kind for kind in kinds if kind is not text]) if rule), None)
    if text is None and other is None:
        return None

    def rule(value, name):
        if value is None and type(None) in kinds:
            return None
        own = rule_of(text) if text is not None and isinstance(value, str) else other
        return value if own is None else own(value, name)

    return rule


def checked(function: Callable[P, R], *, keep: Callable[..., None] | None = None) -> Callable[P, R]:
    """Return `function` with its arguments checked by the rules of their annotations.

    `keep(self, passed)` receives what was passed to an `__init__`, by name, before it runs.

    >>> @checked
    ... def grow(width: Count):
    ...     return width + 1
    >>> grow(0)
    Traceback (most recent call last):
    ValueError: grow's width: got 0, expected a whole number from 1 up.
    """
    signature = inspect.signature(function)
    kinds = [p.kind for p in signature.parameters.values()]
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    places = {p.name: place for place, p in enumerate(signature.parameters.values()) if p.kind in by_place}
    most = math.inf if inspect.Parameter.VAR_POSITIONAL in kinds else len(places)
    declared = [(name, rule_of(p.annotation), p.default) for name, p in signature.parameters.items()]
    rules = [(name, rule, _changed(rule, default)) for name, rule, default in declared if rule is not None]
    of_class = function.__name__ == "__init__"

    @functools.wraps(function)
    def call(*args, **kwargs):
        if len(args) > most:
            return function(*args, **kwargs)  # for Python's own message
        values, named = list(args), dict(kwargs)
        owner = type(args[0]).__name__ if of_class else function.__name__
        for name, rule, default in rules:  # `Signature.bind` would take as long as a small layer
            place = places.get(name, len(values))
            if place < len(values):
                values[place] = rule(values[place], f"{owner}'s {name}")
            elif name in named or default is not inspect.Parameter.empty:
                named[name] = rule(named.get(name, default), f"{owner}'s {name}")
        if keep is not None:
            without_self = [*zip(places, values, strict=False)][1:]
            keep(args[0], dict(without_self) | {name: named[name] for name in kwargs})
        return function(*values, **named)

    call.__signature__ = signature  # type: ignore[attr-defined]  # which Keras reads without unwrapping
    return call


def _changed(rule, default):
    """Return a default that its rule changes, such as a tuple into a list; no default for one that it leaves as is."""
    if default is inspect.Parameter.empty:
        return default
    try:
        found = rule(default, "default")
    except (TypeError, ValueError):  # which the call reports
        return default
    return inspect.Parameter.empty if found is default else default
