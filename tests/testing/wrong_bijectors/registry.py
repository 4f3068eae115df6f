"""Which clause is meant to catch which mistake."""

from dataclasses import dataclass

from flowkit.engines import engine
from flowkit.testing import Case

WRONG = []
"""Every `Mistake`."""


@dataclass(frozen=True)
class Mistake:
    """A case, the clause meant to catch it, and a part of what that clause must say, where it measures nothing."""

    case: Case
    clause: str
    says: str | None = None

    def __str__(self):
        return self.case.name


def breaks(clause, *events, context=None, says=None, engines=("jax", "torch", "tensorflow")):
    """Register a class (or a function that makes a bijector) as one that breaks `clause` for these event shapes.

    `says` is a part of "EXPECTED, RECEIVED" for a clause that has no number to show. `engines` are those on which
    it is wrong.
    """

    def register(make):
        if engine.name in engines:
            WRONG.append(Mistake(Case(make.__name__, make, events or ((3,),), context), clause, says))
        return make

    return register


class Bare:
    """A config without the arguments that a class here fixes."""

    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k in ("name", "dtype", "trainable")}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
