"""Rows that a loop fills up step by step, also those of steps that have none."""

import numpy as np
import pytest
from arrays import array
from keras import ops

from flowkit.engines import engine


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
