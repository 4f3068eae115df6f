"""Loops that end early."""

import numpy as np
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
