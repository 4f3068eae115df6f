"""Squeeze: Glow's channel order."""

import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import Squeeze
from flowkit.contract import ContractError

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


def test_there_and_back_is_exact():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
    layer = Squeeze()
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.inverse(layer(x)[0])[0]), x)


@pytest.mark.parametrize(("shape", "axis", "n"), [((1, 5, 4, 1), 1, 5), ((1, 4, 7, 1), 2, 7)])
def test_an_odd_axis_is_named(shape, axis, n):
    with pytest.raises(ContractError, match=rf"axis {axis} to be a multiple of 2, received {n} "):
        Squeeze()(np.zeros(shape, "float32"))


def test_latents_of_too_few_channels_are_refused():
    with pytest.raises(ContractError, match=r"c a multiple of 4, received shape \(1, 2, 2, 6\)"):
        Squeeze().inverse(np.zeros((1, 2, 2, 6), "float32"))


@pytest.mark.parametrize("factor", [0, -1, 2.0])
def test_a_factor_is_a_whole_number_from_1_up(factor):
    with pytest.raises(ValueError, match=f"factor: got {factor}, expected a whole number from 1 up"):
        Squeeze(factor)
