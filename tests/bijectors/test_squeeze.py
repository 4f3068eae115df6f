"""Squeeze: Glow's channel order."""

import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import Squeeze

pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_new_channel_is_c_ff_plus_i_f_plus_j(factor):
    f, h, w, c = factor, 2, 3, 2
    x = np.arange(2 * h * f * w * f * c, dtype="float32").reshape(2, h * f, w * f, c)
    z = ops.convert_to_numpy(Squeeze(factor)(x)[0])
    assert z.shape == (2, h, w, c * f * f)
    for row in range(h * f):
        for column in range(w * f):
            for channel in range(c):
                new = channel * f * f + (row % f) * f + column % f
                np.testing.assert_array_equal(z[:, row // f, column // f, new], x[:, row, column, channel])
