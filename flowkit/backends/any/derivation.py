"""What depends on weights alone, on engines that compile a step as a whole: it is a part of that."""

import contextlib


def derives_together():
    """Whether parts that are alike derive at once, now."""
    return False


def derive_alike(derive, variables, columns):
    """A function () -> for each list of `variables` the tensors of `derive()`, which reads the first list.

    Only if parts ever derive together.
    """
    raise NotImplementedError("this engine derives for each part by itself")


def deriving_once():
    """A scope without changes of weights, in which what is derived without gradients is derived once."""
    return contextlib.nullcontext()  # a compiled program would have it as a constant


def kept_for_this_call():
    """A dictionary of what was derived in this scope; outside of one, or with gradients, an empty one."""
    return {}


def add_up(log_dets):
    """The sum of log-dets, each a number, a scalar or (batch,)."""
    return sum(log_dets, 0.0)
