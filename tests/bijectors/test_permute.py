"""Permute: the three ways to give an order, and that a shuffle survives saving."""

import numpy as np
import pytest
from arrays import array

from flowkit.bijectors import Permute

pytestmark = pytest.mark.one_engine

X = np.arange(12, dtype="float32").reshape(2, 6)


def test_the_order_says_where_each_channel_comes_from():
    np.testing.assert_array_equal(array(Permute([2, 0, 1, 5, 3, 4])(X)[0]), X[:, [2, 0, 1, 5, 3, 4]])
    np.testing.assert_array_equal(array(Permute("reverse")(X)[0]), X[:, ::-1])


def test_two_shuffles_without_a_seed_differ_and_with_one_are_the_same():
    x = np.arange(40, dtype="float32")[None]
    a, b, c, d = (array(Permute("shuffle", seed=seed)(x)[0]) for seed in (None, None, 7, 7))
    assert (a != b).any()
    np.testing.assert_array_equal(c, d)
