"""Autoregressive layers: what each entry hears, the way back, the order. Pointwise ones, and the networks of both."""

import numpy as np
import pytest
from arrays import array

from flowkit import Flow
from flowkit.bijectors import Autoregressive, Inverse, Pointwise
from flowkit.conditioners import MADE, MLP, ResidualMADE, ResidualMLP
from flowkit.contract import ContractError
from flowkit.transforms import Additive, Affine, RationalQuadratic, SigmoidMixture

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


def test_masked_blocks_add_what_they_say_and_begin_as_the_identity(perturb):
    rng = np.random.default_rng(0)
    net = ResidualMADE(6, blocks=2, features=6, context="required", activate_last=False)
    x, c = rng.normal(size=(4, 3)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")
    assert not array(net(x, c)).any()
    layers = net.all_layers()
    for layer in (layers[2], layers[4], layers[5]):
        assert not array(layer.kernel).any()
    perturb(net, scale=1.0)

    def dense(h, layer):
        own = layer.derive()
        return h @ array(own["kernel"]).astype("float64") + array(own["bias"]).astype("float64")

    h = dense(x, layers[0]) + c @ array(net.bias.kernel).astype("float64")
    for one, two in (layers[1:3], layers[3:5]):
        h = h + dense(np.maximum(dense(np.maximum(h, 0), one), 0), two)
    np.testing.assert_allclose(array(net(x, c)), dense(h, layers[5]), rtol=1e-4, atol=1e-4)
    assert ResidualMADE.from_config(net.get_config()).get_config() == net.get_config()
    assert repr(net) == "ResidualMADE(6, activate_last=False, features=6, context='required')"
    assert repr(MADE([6], context="required")) == "MADE([6], context='required')"


@pytest.mark.wide("transform")
@pytest.mark.parametrize("order", [None, "reversed", [2, 0, 4, 1, 3]])
@pytest.mark.parametrize(
    "transform", [Affine("tanh"), Additive(), RationalQuadratic(4), SigmoidMixture(2)], ids=repr
)
def test_it_comes_back_and_each_entry_hears_those_before_it_in_order(transform, order, perturb):
    layer = built(Autoregressive(MADE([12]), transform, order=order), perturb)
    z, log_det = layer(X)
    back, log_back = layer.inverse(z)
    np.testing.assert_allclose(array(back), X, atol=1e-4)
    np.testing.assert_allclose(array(log_back), -array(log_det), atol=2e-4)
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


def test_samples_of_the_inverse_take_one_pass():
    spec = Inverse(Autoregressive(MADE([8]))).spec
    assert (spec.forward, spec.inverse) == ("sequential", "analytic")
    assert Autoregressive(MADE([8]), SigmoidMixture()).spec.inverse == "iterative"


def test_a_number_can_be_modelled_given_a_context():
    """y | x with y a single number: N(2 x, 1) for x in (-1, 1)."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2000, 1)).astype("float32")
    y = (2 * x + rng.normal(size=x.shape)).astype("float32")
    flow = Flow(Pointwise("affine", MLP([16])))
    flow.compile("adam")
    flow.optimizer.learning_rate = 0.02
    flow.fit(y, context=x, batch_size=200, epochs=40, verbose=0)
    expected = 0.5 * np.log(2 * np.pi) + 0.5
    assert abs(-flow.log_prob(y, context=x).mean() - expected) < 0.06
    samples = flow.sample(4000, context=np.array([[0.8]], "float32"), seed=0)
    assert abs(samples.mean() - 1.6) < 0.15
    with pytest.raises(ContractError, match="context"):
        flow.log_prob(y)


def test_a_residual_network_starts_at_zero_and_hears_its_context(perturb):
    net = ResidualMLP(8, blocks=3, features=4, context="required")
    x = np.ones((2, 3), "float32")
    assert not array(net(x, context=np.ones((2, 2), "float32"))).any()
    perturb(net, scale=0.5)
    one, other = (array(net(x, context=np.full((2, 2), c, "float32"))) for c in (1.0, 2.0))
    assert (one != other).all()
    with pytest.raises(ValueError, match="blocks: got 0, expected a whole number from 1 to 1024"):
        ResidualMLP(8, blocks=0)
