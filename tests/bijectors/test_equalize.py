"""Histogram equalisation: shares follow the data, and frequent values cost little."""

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import Equalize
from flowkit.data import Dequantize

pytestmark = pytest.mark.one_engine


def levels_of(rng, n):
    """Stored values 0..15, half of them 0."""
    return np.where(rng.random((n, 3)) < 0.5, 0, rng.integers(0, 16, (n, 3)))


def test_data_become_logistic_by_their_own_distribution():
    rng = np.random.default_rng(0)
    stored = levels_of(rng, 5000)
    x = ((stored + rng.random(stored.shape)) / 16 - 0.5).astype("float32")
    layer = Equalize(16).adapt(x)
    z, log_det = layer(x)
    shares = np.sort(1 / (1 + np.exp(-f64(z).ravel())))
    np.testing.assert_allclose(shares, np.linspace(0, 1, len(shares)), atol=0.02)
    # The density is that of the histogram, up to the logistic density of z.
    frequency = np.bincount(stored.ravel(), minlength=16) / stored.size
    expected = np.log(16 * frequency[stored]).sum(1)
    logistic = -(np.logaddexp(0, f64(z)) + np.logaddexp(0, -f64(z))).sum(1)
    np.testing.assert_allclose(f64(log_det) + logistic, expected, atol=0.05)
    np.testing.assert_allclose(f64(layer.inverse(z)[0]), x, atol=1e-5)


def test_levels_are_those_of_the_dequantizer():
    layer, dequantize = Equalize(16), Dequantize(4)
    stored = np.arange(16)[None] * 16
    y, _ = dequantize(stored, noise=np.full((1, 16), 0.999, "float32"))
    layer.adapt(np.repeat(f64(y).astype("float32"), 4, axis=0))
    shares = f64(layer.shares)
    np.testing.assert_allclose(shares[1:-1], shares[1], rtol=1e-5)
