"""Polynomials on an interval with straight tails, whose inverse is solved."""

import numpy as np
import pytest
from arrays import f64, precision, tensor

from flowkit.transforms import Bernstein, SumOfSquares

pytestmark = pytest.mark.one_engine

BOTH = pytest.mark.parametrize("transform", [Bernstein(9), SumOfSquares(3, 3), SumOfSquares(2, 32)], ids=repr)


def raw(transform, scale=1.0, rows=1, seed=0):
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(rows, transform.parameters, 1)).astype("float32").astype("float64")


def run(transform, x, h, dtype="float64", inverse=False):
    with precision(dtype):
        prepared = transform.prepare(tensor(h, dtype))
        return [f64(a) for a in transform.run(tensor(np.reshape(x, (-1, 1)), dtype), prepared, inverse)]


def test_a_bernstein_polynomial_is_that_of_numpy():
    from math import comb

    h, m = raw(Bernstein(6), 1.0), 6
    x = np.linspace(-5, 5, 41)
    y, log_slope = run(Bernstein(6), x, h)
    slopes = 1e-3 + np.log1p(np.exp(h[0, :m, 0]) * np.expm1(1 - 1e-3))
    theta = np.concatenate([[0], np.cumsum(slopes)]) * 10 / m
    theta = theta - theta[-1] / 2 + h[0, m, 0]
    u = (x + 5) / 10
    by_hand = sum(theta[k] * comb(m, k) * u**k * (1 - u) ** (m - k) for k in range(m + 1))
    np.testing.assert_allclose(y[:, 0], by_hand, atol=1e-12)
    np.testing.assert_allclose(np.exp(log_slope[:, 0]), np.gradient(by_hand, x, edge_order=2), atol=2e-2)


def test_a_sum_of_squares_is_the_polynomial_whose_slope_it_is():
    transform = SumOfSquares(3, 2, bound=2.0)
    h, x = raw(transform, 1.0), np.linspace(-2, 2, 21)
    y, log_slope = run(transform, x, h)
    total = np.polynomial.Polynomial([0.0])
    for k in range(3):
        start = np.sqrt(2 * (k + 1) / 4)
        total += np.polynomial.Polynomial([start + h[0, k, 0], h[0, 3 + k, 0] / 2, h[0, 6 + k, 0] / 4]) ** 2
    slope = 1e-3 + (1 - 1e-3) / 3 * total
    np.testing.assert_allclose(np.exp(log_slope[:, 0]), slope(x), rtol=1e-12)
    np.testing.assert_allclose(y[:, 0], slope.integ()(x) + h[0, -1, 0], atol=1e-12)


@BOTH
def test_float32_agrees_with_float64(transform):
    h = raw(transform, 6.0, rows=2000)
    x = np.random.default_rng(1).uniform(-20, 20, 2000).astype("float32").astype("float64")
    (y, log_slope), (truth, log_truth) = run(transform, x, h, "float32"), run(transform, x, h)
    # Nothing cancels, but where raw numbers do in a square.
    assert np.max(np.abs(y - truth) / (np.abs(truth) + np.abs(x) * np.exp(log_truth) + 10)) < 1e-4
    assert np.quantile(np.abs(log_slope - log_truth), 0.99) < 1e-3


@pytest.mark.one_engine
def test_the_terms_of_a_sum_learn_different_things():
    """Adam would move terms that start alike by the same steps for ever."""
    transform = SumOfSquares(2, 2)
    h = np.zeros((1, transform.parameters, 1))
    h[0, 2:4] = 0.1  # the same step for both terms
    x = np.linspace(-5, 5, 11)
    one = run(transform, x, h)[1]
    h[0, 2], h[0, 3] = 0.2, 0.0
    assert np.max(np.abs(run(transform, x, h)[1] - one)) > 1e-3
