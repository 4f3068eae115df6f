"""Autoregressive layers: what each entry hears, the way back, the order. Pointwise ones, and the networks of both."""

import numpy as np
import pytest
from arrays import array

from flowkit.bijectors import Autoregressive
from flowkit.conditioners import MADE, ResidualMADE

pytestmark = pytest.mark.one_engine

X = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")


def built(layer, perturb, shape=(None, 5), context=None, scale=0.3):
    layer.build_for(shape, context)
    return perturb(layer, scale=scale)


def hears(function, size):
    """hears[i, j]: whether output i of a function of vectors changes with input j."""
    base, found = array(function(np.zeros((1, size), "float32"))), []
    for j in range(size):
        moved = np.zeros((1, size), "float32")
        moved[0, j] = 1.0
        found.append(array(function(moved))[0] != base[0])
    return np.array(found).T


@pytest.mark.wide
@pytest.mark.parametrize("hidden", [[7], [9, 16], [5, 5, 5], 5, 9])
def test_an_entry_hears_all_those_before_it_and_no_other(hidden, perturb):
    kind = MADE if isinstance(hidden, list) else ResidualMADE
    net = kind(hidden, features=10, activation="tanh")
    net.build((None, 5))
    perturb(net, scale=1.0)
    below = np.tril(np.ones((5, 5), bool), -1)
    np.testing.assert_array_equal(hears(net, 5), np.concatenate([below, below]))


@pytest.mark.wide
@pytest.mark.parametrize(("kind", "hidden"), [(MADE, [8]), (ResidualMADE, 8)])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_context_reaches_every_entry(size, kind, hidden, perturb):
    net = kind(hidden, features=size, activation="tanh", context="required")
    net.build((None, size), (None, 3))
    perturb(net, scale=1.0)
    x = np.zeros((2, size), "float32")
    one, other = (array(net(x, context=np.full((2, 3), c, "float32"))) for c in (1.0, 2.0))
    assert (one != other).all()


@pytest.mark.parametrize("order", [None, "reversed", [2, 0, 4, 1, 3]])
def test_each_entry_hears_those_before_it_in_order(order, perturb):
    layer = built(Autoregressive(MADE([12]), order=order), perturb)
    places = {None: [0, 1, 2, 3, 4], "reversed": [4, 3, 2, 1, 0]}
    rank = np.argsort(order if isinstance(order, list) else places[order])
    expected = rank[:, None] >= rank[None, :]
    np.testing.assert_array_equal(hears(lambda x: layer(x)[0], 5), expected)


def test_the_way_back_does_not_meet_what_is_not_known_yet(perturb):
    """Entries that wait would overflow, and spoil those before them: a weight of 0 times infinity is NaN."""
    layer = built(
        Autoregressive(MADE([16], activation="exponential"), "affine"), perturb, (None, 12), scale=1.5
    )
    x = np.random.default_rng(3).normal(size=(4, 12)).astype("float32") * 0.1
    z = layer(x)[0]
    back = array(layer.inverse(z)[0])
    assert np.isfinite(back[:, :4]).all()
    np.testing.assert_allclose(back[:, :4], x[:, :4], atol=1e-3)
