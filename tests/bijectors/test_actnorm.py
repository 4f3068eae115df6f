"""ActNorm: its statistics as published, and that it is honest about having none."""

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import ActNorm

EPSILON = np.finfo("float32").eps


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(16, 4, 4, 3)) * [0.5, 2, 7] + [3, -5, 0]).astype("float32")


def test_the_weights_are_the_published_statistics(x):
    layer = ActNorm().adapt(x)
    x = x.astype("float64")
    mean, deviation = x.mean((0, 1, 2)), x.std((0, 1, 2))  # numpy's std is the biased one, as published
    # Sums of 256 numbers: pairwise or not, at most 256 roundings of the largest.
    atol = 256 * EPSILON * np.abs(x).max()
    np.testing.assert_allclose(f64(layer.shift), -mean, atol=atol)
    np.testing.assert_allclose(f64(layer.logs), -np.log(deviation + 1e-6) / 3, atol=atol)


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_the_value_and_the_log_det_by_hand(x, factor):
    layer = ActNorm(factor)
    layer.build(x.shape)
    layer.shift.assign([1.0, 2.0, 3.0])
    layer.logs.assign([0.1, -0.2, 0.3])
    layer.flag.assign(True)
    z, log_det = layer(x)
    expected = (x.astype("float64") + np.arange(1, 4)) * np.exp(factor * np.array([0.1, -0.2, 0.3]))
    np.testing.assert_allclose(f64(z), expected, rtol=16 * EPSILON, atol=16 * EPSILON * np.abs(x).max())
    np.testing.assert_allclose(f64(log_det), [16 * factor * 0.2] * 16, rtol=16 * EPSILON)


def test_a_channel_that_never_varies_stays_finite():
    x = np.zeros((8, 3), "float32") + np.float32([1, 2, 3])
    layer = ActNorm().adapt(x)
    np.testing.assert_allclose(f64(layer(x)[0]), 0, atol=1e6 * 8 * 3 * EPSILON)  # scaled by 1 / 1e-6
    back, _ = layer.inverse(np.ones((8, 3), "float32"))
    assert np.isfinite(f64(back)).all()


def test_channels_that_do_not_vary_are_reported():
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    x[:, 1] = 5
    with pytest.warns(UserWarning, match="1 of 3 channels do not vary"):
        ActNorm().adapt(x)
