"""Permute, Reshape, Flatten and Squeeze: which entry goes where."""

import numpy as np
import pytest
from arrays import array

from flowkit.bijectors import Flatten, Permute, Reshape, Squeeze

pytestmark = pytest.mark.one_engine

X = np.arange(24, dtype="float32").reshape(2, 3, 4)


def test_the_order_says_where_each_channel_comes_from():
    np.testing.assert_array_equal(array(Permute([2, 0, 1, 3])(X)[0]), X[..., [2, 0, 1, 3]])
    np.testing.assert_array_equal(array(Permute("reverse")(X)[0]), X[..., ::-1])


def test_two_shuffles_without_a_seed_differ_and_with_one_are_the_same():
    x = np.arange(40, dtype="float32")[None]
    a, b, c, d = (array(Permute("shuffle", seed=seed)(x)[0]) for seed in (None, None, 7, 7))
    assert (a != b).any()
    np.testing.assert_array_equal(c, d)


@pytest.mark.parametrize("layer", [Reshape((2, 6)), Flatten()])
def test_entries_stay_in_row_major_order(layer):
    np.testing.assert_array_equal(array(layer(X)[0]).ravel(), X.ravel())


def test_the_channels_of_a_block_are_c_ff_plus_i_f_plus_j():
    f, h, w, c = 2, 2, 3, 2
    x = np.random.default_rng(0).normal(size=(2, h * f, w * f, c)).astype("float32")
    z = array(Squeeze(f)(x)[0])
    assert z.shape == (2, h, w, c * f * f)
    for i, j, channel in np.ndindex(f, f, c):
        np.testing.assert_array_equal(z[..., channel * f * f + i * f + j], x[:, i::f, j::f, channel])
