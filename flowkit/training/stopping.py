"""Whether training is to stop, or to write a checkpoint, between two steps: the same in all processes of a group."""

import time

import numpy as np

from flowkit import distributed

_ASKED = 8  # steps after which processes ask each other, which takes a moment of each


def asked(stop, minutes, written, step=0):
    """(whether training is to stop, whether a checkpoint is due) after this step of an epoch; 0 is its end.

    It stops if `stop()` says so; a checkpoint is due so many `minutes` after the last was `written`. None says neither.
    """
    alone = distributed.world() == 1
    if not alone and ((stop is None and minutes is None) or step % _ASKED):
        return False, False
    stopping = stop is not None and stop()
    due = minutes is not None and time.monotonic() - written >= 60 * minutes
    return (stopping, due) if alone else distributed.gather(np.array([[stopping, due]])).any(axis=0)
