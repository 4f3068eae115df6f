"""Parts of a chain that are compiled once for all that are alike, on PyTorch."""

import contextlib
import contextvars
import functools

import torch

_COMPILES_PARTS = contextvars.ContextVar("compiles_parts", default=False)


def compiling_parts(when):
    """A scope in which `run_part` compiles, if `when` holds and the engine does not compile whole steps."""
    if not when or torch.compiler.is_compiling():  # a whole step, where there are no parts
        return contextlib.nullcontext()
    return _compiling_parts()


@contextlib.contextmanager
def _compiling_parts():
    from torch import _dynamo  # seconds, which eager training need not pay

    token = _COMPILES_PARTS.set(True)
    try:
        # One for each kind of part and each shape, with and without gradients: soon more than torch's limit of 8,
        # from which on it would run eagerly.
        with _dynamo.config.patch(recompile_limit=4096, accumulated_recompile_limit=4096):
            yield
    finally:
        _COMPILES_PARTS.reset(token)


def run_part(part, x, context, inverse, derived=None):
    """`part.run(x, context, inverse=inverse)`, with `derived=` if there is some.

    What is compiled once serves all parts alike, however deep the chain is.
    """
    given = {} if derived is None else {"derived": derived}
    if not torch.compiler.is_compiling() and _COMPILES_PARTS.get() and not getattr(part, "composite", False):
        return _compiled_run()(part, x, context, inverse, given)
    return part.run(x, context, inverse=inverse, **given)


@functools.cache
def _compiled_run():
    # Weights are looked up at each call, as inputs of what was compiled.
    return torch.compile(
        lambda part, x, context, inverse, given: part.run(x, context, inverse=inverse, **given), dynamic=False
    )


def scans():
    """Whether `scan` compiles one copy for all of them."""
    return False


def scan(step, x, stacked, reverse):
    """Apply `step(x, row)` to each row in a loop of the engine, if `scans()`."""
    raise NotImplementedError("this engine runs one copy after another")
