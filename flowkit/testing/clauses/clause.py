"""What a clause is: one promise, how it is checked, and what usually breaks it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clause:
    """`check(trial)` raises `Broken`; `per` says for what it is called: each "example", each "event", or "once"."""

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


def clause(
    name,
    promise,
    *,
    hint,
    per="example",
    applies=lambda subject: None,
    needs_inverse=False,
    needs_forward=False,
):
    """Make a function of a trial the clause `name`; `catalogue` lists it.

    `applies(subject)` is None, or why it is not asked. `needs_inverse`: it says nothing of a layer without a way back;
    `needs_forward`: of one whose spec says that there is nothing but that.
    """

    def made(check):
        return Clause(name, promise, hint, per, check, applies, needs_inverse, needs_forward)

    return made
