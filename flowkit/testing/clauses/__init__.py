"""The promises of a bijector, one function each, in the order in which they are checked and reported."""

from flowkit.testing.clauses import calls, engines, gradients, log_dets, maps, refusals, weights
from flowkit.testing.judging import Clause


def clauses_of(*modules):
    """Return {name: clause} of some modules."""
    everything = [thing for module in modules for thing in vars(module).values()]
    return {thing.name: thing for thing in everything if isinstance(thing, Clause)}


CLAUSES = clauses_of(maps, log_dets, gradients, calls, weights, engines, refusals)


def known(name):
    """Return `name`, if a clause is called that. Raises ValueError otherwise."""
    if name not in CLAUSES:
        raise ValueError(f"clause: got {name!r}, expected one of {', '.join(map(repr, CLAUSES))}.")
    return name
