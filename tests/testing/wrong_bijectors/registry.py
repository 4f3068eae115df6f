"""Which clause is meant to catch which mistake."""

from flowkit import backends
from flowkit.testing import Case

WRONG = []
"""(Case, name of the clause that is meant to catch it)."""


def breaks(clause, *events, context=None, engines=("jax", "torch", "tensorflow")):
    """Register a class (or a function that makes a bijector) as one that breaks `clause` for these event shapes.

    `engines` are those on which it is wrong.
    """

    def register(make):
        if backends.name() in engines:
            WRONG.append((Case(make.__name__, make, events or ((3,),), context), clause))
        return make

    return register
