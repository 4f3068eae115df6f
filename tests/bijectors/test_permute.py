"""Permute: the three ways to give an order, and that a shuffle survives saving."""

import numpy as np
import pytest
from arrays import array

from flowkit.bijectors import Permute
from flowkit.contract import ContractError

pytestmark = pytest.mark.one_engine

X = np.arange(12, dtype="float32").reshape(2, 6)


@pytest.mark.parametrize("order", ["reverse", "shuffle", [2, 0, 1, 5, 3, 4]])
def test_there_and_back_is_exact(order):
    layer = Permute(order, seed=0)
    z, log_det = layer(X)
    assert sorted(array(z)[0].tolist()) == sorted(X[0].tolist())
    np.testing.assert_array_equal(array(layer.inverse(z)[0]), X)
    np.testing.assert_array_equal(array(log_det), np.zeros(2))


def test_the_order_says_where_each_channel_comes_from():
    np.testing.assert_array_equal(array(Permute([2, 0, 1, 5, 3, 4])(X)[0]), X[:, [2, 0, 1, 5, 3, 4]])
    np.testing.assert_array_equal(array(Permute("reverse")(X)[0]), X[:, ::-1])


def test_two_shuffles_without_a_seed_differ_and_with_one_are_the_same():
    x = np.arange(40, dtype="float32")[None]
    a, b, c, d = (array(Permute("shuffle", seed=seed)(x)[0]) for seed in (None, None, 7, 7))
    assert (a != b).any()
    np.testing.assert_array_equal(c, d)


@pytest.mark.parametrize("order", [[0, 0, 1, 2, 3, 4], [0, 1, 2], [1, 2, 3, 4, 5, 6]])
def test_a_list_that_is_no_permutation_is_refused(order):
    with pytest.raises(ContractError, match=r"a permutation of 0\.\.5 for 6 channels"):
        Permute(order)(X)


def test_an_unknown_word_is_refused():
    with pytest.raises(ValueError, match="order: got 'random', expected one of 'reverse', 'shuffle'"):
        Permute("random")
