"""Bijectors that each break one promise, in a way that has happened in some library."""

from tests.testing.wrong_bijectors import (  # noqa: F401  (importing registers)
    batches,
    bounds,
    contexts,
    declarations,
    derivations,
    families,
    gradients,
    inverses,
    log_dets,
    masks,
    noises,
    overflows,
    pieces,
    places,
    precisions,
    repeats,
    saving,
    solvers,
    states,
)
from tests.testing.wrong_bijectors.registry import WRONG

__all__ = ["WRONG"]
