"""What a clause is: one promise, how it is checked, and what usually breaks it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clause:
    """`check(trial)` raises `Broken`; `per` says for what it is called: each "example", each "event", or "once".

    `applies(subject)` returns None, or why the clause is not asked. `needs_inverse`: it says nothing about a layer
    without a way back; `needs_forward`: about one whose spec says that there is nothing but that.
    """

    name: str
    promise: str
    hint: str
    per: str
    check: Callable
    applies: Callable
    needs_inverse: bool = False
    needs_forward: bool = False

    def __str__(self):
        return self.name


def clause(name, promise, *, hint, per="example", applies=lambda subject: None, **needs):
    """Make a function of a trial the `Clause` of that name."""
    return lambda check: Clause(name, promise, hint, per, check, applies, **needs)
