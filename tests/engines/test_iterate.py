"""Loops that end early, and loops that fill up rows step by step, also those of steps that have none."""

import numpy as np
import pytest
from arrays import array
from keras import ops

from flowkit.engines import engine


def halved(x):
    """Numbers, and how often each was halved until it was below 1: at most 20 times."""

    def step(state):
        x, count = state
        big = x >= 1
        return ops.where(big, x / 2, x), count + ops.cast(big, count.dtype)

    def alive(state):
        return ops.any(state[0] >= 1)

    return array(ops.stack(engine.iterate(step, 20, (x, ops.zeros_like(x)), alive=alive)))


def test_a_loop_ends_when_nobody_is_left():
    steps = []
    engine.iterate(
        lambda x: steps.append(1) or x / 2, 20, ops.ones((2,)) * 3, alive=lambda x: ops.any(x >= 1)
    )
    assert 1 <= len(steps) <= 2  # where it is a loop of the engine's, the step is looked at once


def test_each_entry_goes_on_as_long_as_it_must_and_at_most_the_times_asked():
    x = ops.convert_to_tensor(np.array([0.5, 12.0], "float32"))
    np.testing.assert_array_equal(halved(x), [[0.5, 0.75], [0, 4]])
    x = ops.convert_to_tensor(np.array([2.0**30], "float32"))
    np.testing.assert_array_equal(halved(x), [[2.0**10], [20]])


@pytest.mark.parametrize("ends", [[2, 4, 6], [0, 3, 4, 4, 7]])
def test_a_loop_fills_up_what_it_reads(ends):
    rows = engine.StepWindows(ends)
    given = np.arange(2.0 * ends[-1]).reshape(-1, 2).astype("float32")
    padded = ops.convert_to_tensor(np.concatenate([np.zeros((rows.padding, 2), "float32"), given]))
    cut = rows.cut(padded)

    def step(state):
        k, x = state
        return k + 1, rows.written(x, k, 2 * rows.at(cut, k))

    _, found = engine.iterate(step, len(ends), (0, ops.zeros_like(padded)))
    np.testing.assert_array_equal(array(found)[rows.padding :], 2 * given)
