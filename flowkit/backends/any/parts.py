"""Parts of a chain, on engines that compile the whole step that they are in, or nothing."""

import contextlib


def compiling_parts(when):
    """A scope in which `run_part` compiles, if `when` holds and the engine does not compile whole steps."""
    return contextlib.nullcontext()


def run_part(part, x, context, inverse, derived=None):
    """`part.run(x, context, inverse=inverse)`, with `derived=` if there is some.

    What is compiled once serves all parts alike, however deep the chain is.
    """
    return part.run(x, context, inverse=inverse, **({} if derived is None else {"derived": derived}))


def scans():
    """Whether `scan` compiles one copy for all of them."""
    return False


def scan(step, x, stacked, reverse):
    """Apply `step(x, row)` to each row in a loop of the engine, if `scans()`."""
    raise NotImplementedError("this engine runs one copy after another")
