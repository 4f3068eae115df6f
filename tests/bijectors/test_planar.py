"""Planar, Sylvester, radial and block autoregressive layers: special cases by hand, and what is far out."""

import functools

import numpy as np
import pytest
from arrays import array, f64, tensor
from keras import ops

from flowkit.bijectors import BlockAutoregressive, Planar, Radial, Sylvester
from flowkit.conditioners import MLP
from flowkit.engines import engine

pytestmark = pytest.mark.one_engine

EPSILON, DOUBLE = np.finfo("float32").eps, np.finfo("float64").eps
X = np.random.default_rng(0).normal(size=(40, 4)) * 3


def built(make, perturb, size=4, scale=0.7, **options):
    layer = make(seed=1, **options)
    layer.build_for((None, size))
    return perturb(layer, scale=scale)


def test_a_sylvester_layer_with_one_unit_is_planar(perturb):
    """Q = q, so r q tanh(s q . x + b): w = s q, u' = r q."""
    with engine.float64():
        sylvester = built(functools.partial(Sylvester, units=1), perturb)
        q, _, s, b, m = (array(part)[0] for part in sylvester._mixing(None))
        planar = Planar()
        planar.build_for((None, 4))
        w = s[0, 0] * q[:, 0]
        # The raw number of w . u of which m is made.
        along = np.log(np.expm1(m[0] / (1 - 1e-3) + 1)) - np.log(np.e - 1)
        planar.own["w"].assign(w)
        planar.own["u"].assign(along * w / (w @ w))
        planar.own["b"].assign(b[0])
        for direction in ("__call__", "inverse"):
            for one, other in zip(
                getattr(sylvester, direction)(X), getattr(planar, direction)(X), strict=True
            ):
                np.testing.assert_allclose(array(one), array(other), atol=1e3 * DOUBLE)


def test_without_a_direction_a_planar_layer_moves_all_alike():
    layer = Planar()
    layer.build_for((None, 4))
    layer.own["w"].assign(np.zeros(4))
    layer.own["u"].assign(np.arange(4.0))
    layer.own["b"].assign(0.5)
    x = X.astype("float32")
    z, log_det = layer(x)
    np.testing.assert_allclose(array(z), x + np.arange(4) * np.tanh(0.5), atol=32 * EPSILON * np.abs(x).max())
    np.testing.assert_array_equal(array(log_det), np.zeros(40))
    gradients = engine.gradients(lambda given: ops.sum(layer(given[0])[0]), [tensor(X, "float32")])[1]
    np.testing.assert_array_equal(array(gradients[0]), np.ones((40, 4)))


def test_a_radial_layer_is_exact_at_its_centre_and_far_from_it():
    layer = Radial(seed=0)
    layer.build_for((None, 3))
    layer.own["beta"].assign(-3.0)
    c = array(layer.own["c"].value)
    x = np.stack([c, c + 1e-6, c + 1e3, c + 1e6]).astype("float32")
    z, log_det = layer(x)
    np.testing.assert_array_equal(array(z)[0], c)
    np.testing.assert_allclose(
        array(log_det)[0], 3 * np.log(1e-3 + 0.999 * np.log1p(np.exp(-3 + np.log(np.e - 1)))), rtol=1e-5
    )
    np.testing.assert_allclose(array(log_det)[3], 0, atol=1e-5)
    np.testing.assert_allclose(array(layer.inverse(z)[0]), x, rtol=16 * EPSILON, atol=64 * EPSILON)


def test_latents_of_a_block_autoregressive_map_far_outside_of_the_image_of_tanh_have_data(perturb):
    layer = BlockAutoregressive(4)
    layer(np.zeros((1, 3), "float32"))
    perturb(layer, 0.5)
    z = np.array([[1e4, -1e4, 1e3]], "float32")
    x, _ = layer.inverse(z)
    np.testing.assert_allclose(f64(layer(x)[0]), z, rtol=1e-4)


@pytest.mark.parametrize("layer", [BlockAutoregressive, Planar])
def test_the_network_of_the_context_is_refreshed_with_it(layer):
    class Counting(MLP):
        seen = None

        def refresh(self, context):
            self.seen = f64(context)

    network = Counting([4])
    steered = layer(conditioner=network)
    x, context = ops.ones((5, 3)), ops.full((5, 2), 7.0)
    steered(x, context)
    assert steered.refreshes
    assert network.seen is None
    steered.run_refresh(x, context)
    np.testing.assert_array_equal(network.seen, np.full((5, 2), 7.0))
    assert not layer().refreshes
