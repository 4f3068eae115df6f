"""Residual layers: their Lipschitz bound, the means of their estimates, and an inverse that is a fixed point."""

import keras
import numpy as np
import pytest
from arrays import array, f64, jacobians, tensor
from keras import ops

from flowkit.bijectors import Residual
from flowkit.bijectors.residual import LogDetSeries, left_out
from flowkit.conditioners import LipschitzMLP
from flowkit.conditioners.mlp import spectral_bound
from flowkit.engines import engine

pytestmark = pytest.mark.one_engine

EPSILON, DOUBLE = np.finfo("float32").eps, np.finfo("float64").eps
X = np.random.default_rng(0).normal(size=(6, 3)) * 2


def built(perturb, size=3, c=0.7, sign=-1.0, **options):
    """A layer held back by its bound, of which the second kernel is nearly the first one's transpose: J is large."""
    layer = Residual(LipschitzMLP([16], lipschitz=c), **options)
    layer.build_for((None, size))
    perturb(layer, scale=0.3)
    first, second = layer.conditioner.kernels
    first.assign(first.value * 3)
    second.assign(second.value + sign * ops.transpose(first.value))
    return layer


@pytest.mark.wide("size")
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (20, 4), (64, 64)])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_the_bound_is_above_the_norm_and_close_to_it(shape, size):
    kernel = np.random.default_rng(0).normal(size=shape).astype("float32")
    bound, norm = float(spectral_bound(tensor(kernel * size, "float32"))) / size, np.linalg.norm(kernel, 2)
    assert norm * (1 - 16 * EPSILON) <= bound
    assert bound <= norm * min(shape) ** (1 / 1024) * (1 + 64 * EPSILON)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0])
def test_the_gradient_of_the_bound_is_that_of_the_norm(size):
    """u v^T of the largest singular value, nearly; of a kernel of zeros none."""
    kernel = np.random.default_rng(0).normal(size=(5, 3)).astype("float32") * np.float32(size)
    _, (gradient,) = engine.gradients(lambda given: spectral_bound(given[0]), [tensor(kernel, "float32")])
    u, _, v = np.linalg.svd(kernel.astype("float64"))
    np.testing.assert_allclose(
        array(gradient), np.outer(u[:, 0], v[0]) if size else np.zeros((5, 3)), atol=0.01
    )


@pytest.mark.wide("activation")
@pytest.mark.parametrize("activation", ["lipswish", "sin"])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_a_network_shrinks_distances_whatever_its_weights(activation, scale, perturb):
    net = LipschitzMLP([16, 16], features=3, lipschitz=0.7, activation=activation)
    net.build((None, 3))
    perturb(net, scale=scale)
    rng = np.random.default_rng(0)
    one = rng.normal(size=(500, 3)).astype("float32")
    other = one + rng.normal(size=(500, 3)).astype("float32") * np.float32(10.0) ** rng.uniform(
        -2, 1, (500, 1)
    ).astype("float32")
    moved = np.linalg.norm(f64(net(one)) - f64(net(other)), axis=1)
    ratio = moved / np.linalg.norm(one.astype("float64") - other, axis=1)
    assert ratio.max() < 0.7
    norms = [np.linalg.norm(f64(kernel), 2) for kernel in net.scaled_kernels()]
    assert max(norms) <= 0.7 ** (1 / 3) * (1 + 16 * EPSILON)
    if scale > 0.1:
        assert min(norms) > 0.95 * 0.7 ** (1 / 3)  # held back by no more than is needed


def test_fewer_passes_leave_the_error_that_is_declared(perturb):
    layer = built(perturb, c=0.9, passes=5, trace="hutchinson", terms=1)
    x = X.astype("float32")
    noise = layer.draw_noise(X.shape, 0)
    z, _ = layer(x, noise=noise)
    error = np.abs(array(layer.inverse(z, noise=noise)[0]) - x).max()
    assert 1e-3 < error < 0.9**5 / (1 - 0.9) * np.abs(array(z) - x).max() * np.sqrt(3)
    assert layer.spec.round_trip > 0.9**5 / (1 - 0.9) / EPSILON


@pytest.mark.wide("trace")
@pytest.mark.parametrize(("trace", "terms"), [("hutchinson", None), ("roulette", None), ("roulette", 5)])
@pytest.mark.parametrize("inverse", [False, True])
def test_the_mean_of_the_estimate_is_the_log_det(trace, terms, inverse, perturb):
    draws = 4000
    layer = built(perturb, trace=trace, terms=terms)
    x = X[:3].astype("float32")
    expected = np.linalg.slogdet(np.eye(3) + jacobians(layer.conditioner, x))[1]
    assert np.abs(expected).max() > 0.1
    rows = np.repeat(x, draws, axis=0)
    if inverse:
        expected, rows = -expected, rows + array(layer.conditioner(rows))
    noise = layer.draw_noise(rows.shape, 1, inverse=inverse)
    log_det = f64(layer(rows, inverse=inverse, noise=noise)[1]).reshape(3, draws)
    error = log_det.std(axis=1) / np.sqrt(draws)
    assert (error > 0).all()
    # 5 deviations of the mean, and the terms that are left out.
    np.testing.assert_array_less(np.abs(log_det.mean(axis=1) - expected), 5 * error + 3 * layer.series.bias)
    assert layer.series.bias <= 1e-3


@pytest.mark.one_engine
def test_the_neumann_gradient_has_the_mean_of_the_exact_one(perturb):
    """With respect to the input and to every weight, over all signs of the noise, in float64."""
    with engine.float64():
        exact, estimate = (built(perturb, trace=t, terms=n) for t, n in (("exact", None), ("hutchinson", 60)))
        estimate.set_weights(exact.get_weights())
        x = X[:2]
        signs = np.array(np.meshgrid(*[[0.25, 0.75]] * 3)).reshape(3, 8).T  # each combination once
        rows, noise = np.repeat(x, 8, axis=0), np.tile(signs, (2, 1))

        def gradients(layer, x, noise, share):
            given = {} if noise is None else {"noise": ops.convert_to_tensor(noise)}

            def value(tensors):
                mapping = list(zip(layer.trainable_variables, tensors[1:], strict=True))
                with keras.StatelessScope(state_mapping=mapping):
                    return ops.sum(layer(tensors[0], **given)[1]) * share

            found = engine.gradients(
                value, [ops.convert_to_tensor(x), *(v.value for v in layer.trainable_variables)]
            )[1]
            return [array(g) for g in found]

        expected = gradients(exact, x, None, 1.0)
        received = gradients(estimate, rows, noise, 1 / 8)
        received[0] = received[0].reshape(2, 8, 3).sum(axis=1)
        assert len(expected) > 5
        for one, other in zip(expected, received, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-8, atol=1e-8)


def test_the_value_of_an_estimate_is_the_series_and_not_its_gradients_carrier():
    """For J = a times the identity, all signs give the same: the series itself."""
    a = 0.3
    series = LogDetSeries("hutchinson", 0.5, 6)
    with engine.float64():
        x = ops.convert_to_tensor(X)
        noise = np.random.default_rng(0).uniform(size=X.shape)
        log_det = series.log_det(lambda x: a * x, x, ops.convert_to_tensor(noise))
        expected = 3 * sum((-1) ** (k + 1) / k * a**k for k in range(1, 7))
        np.testing.assert_allclose(array(log_det), np.full(6, expected), atol=16 * DOUBLE)
        assert abs(expected - 3 * np.log1p(a)) < 3 * left_out(a, 6)


def test_roulette_weighs_what_it_seldom_computes():
    """The mean weight of each term is 1."""
    series = LogDetSeries("roulette", 0.6, 2)
    with engine.float64():
        noise = (np.arange(2**16)[:, None] + 0.5) / 2**16  # an even cover of the uniform numbers
        draws = series._draws(ops.convert_to_tensor(noise))
        assert array(draws).min() == 1
        for k in (1, 2, 3, 4, 8):
            weights = array(series._weight(ops.full_like(draws, k), draws))
            assert abs(weights.mean() - 1) < 2 * weights.max() / 2**16
            assert (weights > 0).mean() == pytest.approx(0.6 ** max(0, k - 3), abs=2 / 2**16)
