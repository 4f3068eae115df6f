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
    """Whether `scan` compiles one block for all of them."""
    return False


def scan(run, blocks, x, context, inverse):
    """`run(parts, x, context, inverse)` of all blocks' parts; blocks are alike but for their weights: (y, log_det)."""
    return run([part for block in blocks for part in block], x, context, inverse)
