"""Calls that are made later, and places between two parts with conditions on them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowkit.contract import Domain

REAL = Domain.REAL


class Expression:
    """A call that is made later, and each time anew; its repr is its code.

    >>> from flowkit.bijectors import Chain, Shift
    >>> Expression(Chain, [Expression(Shift, 0.5)])
    Chain([Shift(0.5)])
    """

    def __init__(self, function: Callable[..., Any], *given: Any, **named: Any) -> None:
        self.function, self.given, self.named = function, given, named

    def __call__(self) -> Any:
        return self.function(*map(_made, self.given), **{k: _made(v) for k, v in self.named.items()})

    def __repr__(self):
        home = getattr(self.function, "__module__", "")
        prefix = "keras." + "layers." * (".layers." in home) if home.startswith("keras.") else ""
        given = [*map(repr, self.given), *(f"{name}={value!r}" for name, value in self.named.items())]
        return f"{prefix}{getattr(self.function, '__name__', self.function)}({', '.join(given)})"


def _made(value):
    if isinstance(value, list | tuple):
        return type(value)(map(_made, value))
    return value() if isinstance(value, Expression) else value


@dataclass(frozen=True)
class Here:
    """A place between two parts: the shape and the set of the events that pass it."""

    event: tuple[int, ...]
    domain: Domain = REAL

    @property
    def channels(self):
        return self.event[-1]

    @property
    def columns(self):
        """Return the set of each entry of the last axis."""
        return self.domain.columns or [self.domain] * self.channels

    def after(self, call):
        """Return the place behind a part; None if the part cannot be made, or does not take these events."""
        try:
            part = call()
        except (TypeError, ValueError):  # a ContractError is a ValueError
            return None
        if part.spec.domain != self.domain and not part.spec.rearranges:
            return None
        if self.domain.columns and part.spec.rearranges:
            return None
        event = tuple(part.compute_output_shape((None, *self.event)))[1:]
        return Here(event, self.domain if part.spec.rearranges else part.spec.codomain)


# Conditions on a place


def anywhere(here):
    return True


def alike(here):
    """Return True if entries may change places."""
    return not here.domain.columns


def real(here):
    return here.domain == REAL


def several(here):
    return real(here) and here.channels > 1


def vector(here):
    return real(here) and len(here.event) == 1


def image(here):
    return real(here) and len(here.event) == 3


def even(here):
    return image(here) and here.event[0] % 2 == here.event[1] % 2 == 0


def intervals(here):
    return all(column.kind in ("interval", "circle") for column in here.columns)


def finite(here):
    return all(column.kind == "interval" and column.high - column.low < math.inf for column in here.columns)
