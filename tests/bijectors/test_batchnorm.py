"""BatchNorm: what it stores, when it changes, and that it is an ActNorm otherwise."""

import keras
import numpy as np
import pytest
from arrays import array, f64

from flowkit import Flow
from flowkit.bijectors import ActNorm, BatchNorm, Chain

EPSILON = np.finfo("float32").eps


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(64, 2, 3)) * [0.5, 2, 7] + [3, -5, 0]).astype("float32")


def test_the_value_and_the_log_det_by_hand(x):
    layer = BatchNorm(epsilon=0.25).adapt(x)
    g, b = np.array([0.1, -0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    layer.g.assign(g)
    layer.b.assign(b)
    x = x.astype("float64")
    mean, variance = x.mean((0, 1)), x.var((0, 1))
    z, log_det = layer(x.astype("float32"))
    np.testing.assert_allclose(array(z), (x - mean) / np.sqrt(variance + 0.25) * np.exp(g) + b, atol=1e-5)
    expected = 2 * (g - 0.5 * np.log(variance + 0.25)).sum()
    np.testing.assert_allclose(array(log_det), np.full(64, expected), rtol=1e-5)
    np.testing.assert_allclose(array(layer.inverse(z)[0]), x, atol=64 * EPSILON * np.abs(x).max())


def test_a_training_step_moves_the_statistics_and_nothing_else_does(x):
    layer = BatchNorm(momentum=0.75)
    flow = Flow(Chain([ActNorm(), layer]))
    flow.compile(keras.optimizers.SGD(0.0))
    flow.fit(x, epochs=1, batch_size=32, shuffle=False, verbose=0)
    # ActNorm and the layer adapt to the first batch, where the mean is 0 and the variance 1. Then two steps.
    batches = x.astype("float64").reshape(2, -1, 3)
    normal = (batches - batches[0].mean(0)) / (batches[0].std(0) + 1e-6)
    mean, variance = np.zeros(3), np.ones(3)
    for batch in normal:
        mean = 0.75 * mean + 0.25 * batch.mean(0)
        variance = 0.75 * variance + 0.25 * batch.var(0)
    np.testing.assert_allclose(f64(layer.mean), mean, atol=1e-5)
    np.testing.assert_allclose(f64(layer.variance), variance, rtol=1e-4)
    assert abs(mean).max() > 1e-3
    flow.log_prob(x), flow.sample(3), flow.evaluate(x, verbose=0)
    np.testing.assert_allclose(f64(layer.mean), mean, atol=1e-5)
