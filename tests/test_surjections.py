"""Surjections against their published formulas, in float64 numpy without shared code, with copied weights."""

import math

import numpy as np
from arrays import f64, tensor

from flowkit.bijectors import Pointwise
from flowkit.conditioners import MLP
from flowkit.data import VariationalDequantize
from flowkit.surjections import Absolute, Augment, MaxPool, Sort, StochasticPermute
from flowkit.transforms import Gaussian

RNG = np.random.default_rng(0)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def normals(*shape):
    return RNG.normal(size=shape).astype("float32")


def uniforms(*shape):
    return RNG.uniform(0.01, 0.99, size=shape).astype("float32")


def log_normal(x):
    return -0.5 * (x**2 + math.log(2 * math.pi))


def density():
    """q(. | given), a normal distribution whose mean and deviation a network computes."""
    return Pointwise(Gaussian(), MLP([4]))


def moments(layer, given):
    """Return the mean and the logarithm of the deviation of q, by the weights of its network."""
    first, first_bias, last, last_bias = (f64(weight) for weight in layer.density.conditioner.weights)
    h = np.maximum(given @ first + first_bias, 0) @ last + last_bias
    return np.split(h, 2, axis=-1)


def test_the_absolute_value():
    """Each sign has the probability 1/2."""
    x, layer = normals(4, 3, 2), Absolute()
    z, term = layer(x)
    np.testing.assert_array_equal(f64(z), np.abs(x))
    np.testing.assert_allclose(f64(term), -6 * math.log(2), **CLOSE)
    u = uniforms(4, 6)
    back, term = layer.inverse(z, noise=tensor(u, "float32"))
    np.testing.assert_array_equal(f64(back), np.where(u.reshape(4, 3, 2) < 0.5, 1, -1) * np.abs(x))
    np.testing.assert_allclose(f64(term), 6 * math.log(2), **CLOSE)


def test_a_sorted_vector():
    """Each order of n entries has the probability 1 / n!; softplus then takes latents to gaps."""
    x, layer = normals(5, 4), Sort()
    z, term = layer(x)
    gaps = np.diff(np.sort(x.astype("float64"), axis=1), axis=1)
    np.testing.assert_allclose(f64(z)[:, 0], x.min(1), **CLOSE)
    np.testing.assert_allclose(np.log1p(np.exp(f64(z)[:, 1:])), gaps, rtol=1e-4)
    np.testing.assert_allclose(f64(term), -math.log(24) - np.log(-np.expm1(-gaps)).sum(1), rtol=1e-4)
    back, _ = layer.inverse(z, noise=tensor(uniforms(5, 4), "float32"))
    np.testing.assert_allclose(np.sort(f64(back), axis=1), np.sort(x, axis=1), **CLOSE)
    assert (f64(back) != np.sort(x, axis=1)).any()


def test_a_stochastic_permutation_draws_each_order_alike():
    x, rows = np.array([1.0, 2.0, 3.0], "float32"), 600
    z, log_det = StochasticPermute()(np.tile(x, (rows, 1)), noise=tensor(uniforms(rows, 3), "float32"))
    orders, counts = np.unique(f64(z), axis=0, return_counts=True)
    assert len(orders) == 6
    assert np.abs(counts - 100).max() < 5 * math.sqrt(100 * 5 / 6)
    np.testing.assert_array_equal(f64(log_det), 0)


def test_max_pooling(perturb):
    """The place of the largest entry has the probability 1/4, and distances from it are exponential."""
    x = normals(3, 4, 6, 2)
    layer = MaxPool()
    layer.build(x.shape)
    rate = np.exp(f64(perturb(layer, scale=0.5).log_rate))
    z, term = layer(x)
    expected, largest = np.zeros(3), np.zeros((3, 2, 3, 2))
    for row in range(2):
        for column in range(3):
            block = (
                x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].astype("float64").reshape(3, 4, 2)
            )
            largest[:, row, column] = block.max(1)
            distances = np.sort(block.max(1, keepdims=True) - block, axis=1)[:, 1:]
            expected += (np.log(rate) - rate * distances).sum((1, 2)) - 2 * math.log(4)
    np.testing.assert_allclose(f64(z), largest, **CLOSE)
    np.testing.assert_allclose(f64(term), expected, **CLOSE)
    u = uniforms(3, 36)
    back, term = layer.inverse(z, noise=tensor(u, "float32"))
    again, term_again = layer(back)
    np.testing.assert_allclose(f64(again), largest, **CLOSE)
    np.testing.assert_allclose(f64(term), -f64(term_again), rtol=1e-4)
    place = f64(back)[:, :2, :2].reshape(3, 4, 2).argmax(1)
    np.testing.assert_array_equal(place, np.floor(4 * u.reshape(3, 2, 3, 2, 3)[:, 0, 0, :, 0]))


def test_augmentation(perturb):
    """log p(x, e) - log q(e | x) with e = mean + deviation * noise."""
    x, noise = normals(5, 3), normals(5, 2)
    layer = Augment(2, density())
    layer.build(x.shape)
    perturb(layer, scale=0.5)
    z, term = layer(x, noise=tensor(noise, "float32"))
    mean, log_deviation = moments(layer, x.astype("float64"))
    np.testing.assert_allclose(f64(z), np.concatenate([x, mean + np.exp(log_deviation) * noise], 1), **CLOSE)
    np.testing.assert_allclose(
        f64(term), (log_deviation - log_normal(noise.astype("float64"))).sum(1), **CLOSE
    )
    np.testing.assert_allclose(f64(layer.inverse(z)[0]), x, **CLOSE)


def test_variational_dequantisation(perturb):
    """log p(y) - log q(u | x) with y = (x + u) / 256 - 1/2 and u = sigmoid((noise - mean) / deviation)."""
    x, noise = RNG.integers(0, 256, (5, 3)).astype("float32"), normals(5, 3)
    layer = VariationalDequantize(density())
    layer.build(x.shape)
    perturb(layer, scale=0.5)
    y, term = layer(x, noise=tensor(noise, "float32"))
    mean, log_deviation = moments(layer, x.astype("float64") / 256 - 0.5)
    u = 1 / (1 + np.exp(-(noise - mean) * np.exp(-log_deviation)))
    log_q = log_normal(noise.astype("float64")) + log_deviation - np.log(u * (1 - u))
    np.testing.assert_allclose(f64(y), (x + u) / 256 - 0.5, **CLOSE)
    np.testing.assert_allclose(f64(term), -(log_q + math.log(256)).sum(1), **CLOSE)
    np.testing.assert_array_equal(f64(layer.inverse(y)[0]), x)
