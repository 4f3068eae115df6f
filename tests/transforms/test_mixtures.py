"""Mixtures of sigmoids and of logistics: their tails, their brackets, units that learn different things."""

import math

import numpy as np
import pytest
from arrays import array, f64, precision, tensor
from keras import ops

from flowkit.engines import engine
from flowkit.transforms import MixtureOfLogistics, SigmoidMixture

pytestmark = pytest.mark.one_engine

BOTH = pytest.mark.parametrize("mixture", [SigmoidMixture(8), MixtureOfLogistics(8)], ids=repr)


def raw(mixture, scale, rows, seed=0):
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(rows, mixture.parameters, 1)).astype("float32").astype("float64")


def run(mixture, x, h, dtype, inverse=False):
    with precision(dtype):
        prepared = mixture.prepare(tensor(h, dtype))
        return [f64(a) for a in mixture.run(tensor(x, dtype), prepared, inverse)]


@pytest.mark.parametrize(
    "mixture", [SigmoidMixture(2, spread=0.0), MixtureOfLogistics(2, spread=0.0)], ids=repr
)
def test_the_identity_is_exact_in_both_tails(mixture):
    x = np.array([[-1e4], [-40.0], [40.0], [1e4]], "float32")
    h = np.zeros((4, mixture.parameters, 1))
    y, log_slope = run(mixture, x, h, "float32")
    np.testing.assert_allclose(y, x, rtol=1e-6)
    np.testing.assert_allclose(log_slope, 0, atol=1e-6)
    back, _ = run(mixture, y, h, "float32", inverse=True)
    np.testing.assert_allclose(back, x, rtol=1e-6)


@BOTH
def test_float32_agrees_with_float64_far_out(mixture):
    """Relative to what a rounding of x itself does; of log-slopes, to what it does to the reach of a unit."""
    h = raw(mixture, 6.0, 2000)
    x = np.random.default_rng(1).choice([-1e4, -300, -17, 17, 300, 1e4], size=(2000, 1)).astype("float32")
    (y, log_slope), (truth, log_truth) = run(mixture, x, h, "float32"), run(mixture, x, h, "float64")
    steep = np.abs(x) * np.exp(log_truth) + np.abs(truth) + 1
    assert np.max(np.abs(y - truth) / steep) < 64 * np.finfo("float32").eps
    assert np.isfinite(log_slope).all()
    assert np.quantile(np.abs(log_slope - log_truth), 0.99) < 1e-4


def test_one_sigmoid_is_affine():
    h = raw(SigmoidMixture(1), 1.0, 5)
    x = np.linspace(-50, 50, 5)[:, None]
    y, log_slope = run(SigmoidMixture(1), x, h, "float64")
    slope = 1e-3 + np.log1p(np.exp(h[:, 1] + math.log(math.expm1(1 - 1e-3))))
    np.testing.assert_allclose(y, slope * x + h[:, 2], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(log_slope, np.log(slope), atol=1e-12)


def test_it_is_the_logit_of_the_mixtures_distribution():
    mixture = MixtureOfLogistics(5)
    h = raw(mixture, 1.0, 50)
    x = np.random.default_rng(2).normal(size=(50, 1)) * 3
    y, log_slope = run(mixture, x, h, "float64")
    weights = np.exp(h[:, :5, 0])
    weights = weights / weights.sum(axis=1, keepdims=True)
    scales = np.exp(7 * np.tanh(h[:, 10:15, 0] / 7))
    z = (x - h[:, 5:10, 0] - np.linspace(-1, 1, 5)) / scales
    share = np.sum(weights / (1 + np.exp(-z)), axis=1)
    density = np.sum(weights / scales / (2 + np.exp(z) + np.exp(-z)), axis=1)
    s, t = np.tanh(h[:, 15, 0]), h[:, 16, 0]
    np.testing.assert_allclose(y[:, 0], np.log(share / (1 - share)) * np.exp(s) + t, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_slope[:, 0], np.log(density / share / (1 - share)) + s, atol=1e-9)


@pytest.mark.one_engine  # how well training does is not the engine's
@BOTH
def test_units_that_start_apart_are_told_apart(mixture):
    """Those that start alike get the same gradients for ever, and remain one unit: an affine map."""
    rng = np.random.default_rng(0)
    x = tensor(rng.normal(size=(200, 1)) * 0.3 + rng.choice([-1.5, 1.5], size=(200, 1)), "float32")

    def loss_of(transform):
        def loss(given):
            y, log_slope = transform.forward(x, *transform.prepare(given[0]))
            return ops.mean(0.5 * y * y - log_slope)

        raw = ops.zeros((1, transform.parameters, 1))
        for _ in range(120):
            value, (gradient,) = engine.gradients(loss, [raw])
            raw = ops.convert_to_tensor(array(raw) - 0.1 * array(gradient))
        return float(array(value))

    affine = 0.5 + 0.5 * math.log(np.var(array(x)))  # the least that an affine map can have
    alike = type(mixture)(8, spread=0.0)
    assert loss_of(alike) > affine - 1e-4
    assert loss_of(mixture) < affine - 0.02
