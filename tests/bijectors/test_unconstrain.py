"""Columns from their domains and bounds: the ends, the middle, and how they fit with other parts."""

import math

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import Chain, Logit, Permute, SoftBounds, Unconstrain
from flowkit.contract import ContractError, Domain

pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize(
    "layer",
    [
        Logit(),
        SoftBounds([(0.0, 10.0), (-1.0, 1.0), (2.0, 3.0)]),
        Unconstrain(["positive", (0.1, 0.7), (2.0, None)]),
        Unconstrain(np.array([[0.0, np.inf], [0.0, 2.0], [-np.inf, np.inf]])),
    ],
)
def test_what_is_drawn_stays_inside_however_far_out(layer):
    z = np.repeat(np.array([[-1e4], [-110.0], [-30.0], [0.0], [30.0], [80.0]], "float32"), 3, axis=1)
    x, log_det = layer.inverse(z)
    assert np.isfinite(f64(log_det)).all()
    assert layer.spec.domain.contains(x)
    for found in layer(x):
        assert np.isfinite(f64(found)).all()


def test_soft_bounds_move_what_is_near_a_bound():
    layer = SoftBounds([(0.0, 10.0), (-1.0, 1.0)])
    x = np.array([[5.0, 0.0], [2.0, 0.5], [0.01, 0.99]], "float32")
    z, log_det = map(f64, layer(x))
    np.testing.assert_allclose(z[:2], x[:2], atol=1e-2)
    assert z[2, 0] < -0.5
    assert z[2, 1] > 1.05
    np.testing.assert_allclose(log_det[:2], 0, atol=2e-3)
    assert log_det[2] > 3
    near = np.array([[1e-20, -0.999], [9.99, 0.9999]], "float32")
    np.testing.assert_allclose(f64(layer.inverse(layer(near)[0])[0]), near, rtol=1e-4)


def test_the_ends_keep_their_digits():
    layer = Unconstrain([(-2.0, 2.0), "positive"])
    x = np.array([[np.nextafter(np.float32(2), np.float32(0)), 1e-30], [-2 + 1e-6, 1e30]], "float32")
    z, log_det = layer(x)
    exact = x.astype("float64")
    logit = np.log(exact[:, 0] + 2) - np.log(2 - exact[:, 0])
    np.testing.assert_allclose(f64(z), np.stack([logit, np.log(exact[:, 1])], 1), rtol=1e-6)
    slope = np.log(4) - np.log(exact[:, 0] + 2) - np.log(2 - exact[:, 0]) - np.log(exact[:, 1])
    np.testing.assert_allclose(f64(log_det), slope, rtol=1e-6)
    np.testing.assert_allclose(f64(layer.inverse(z)[0]), exact, rtol=2e-5)


def test_its_spec_says_which_domain_each_column_has():
    mixed = Unconstrain(["real", Domain.POSITIVE, (0, 1)])
    assert mixed.spec.domain == Domain.intervals((-math.inf, math.inf), (0, math.inf), (0, 1))
    assert Unconstrain(["positive", (0, None)]).spec.domain == Domain.POSITIVE
    assert Unconstrain(["real"]).spec.log_det == "zero"
    # An order of columns is not that of their domains.
    with pytest.raises(ContractError, match="broke 'domain'"):
        Chain([Permute(), mixed])


@pytest.mark.parametrize("ends", [(0.0, 24.0), (-math.pi, math.pi), (-0.3, 0.1), (1e3, 1e3 + 360.0)])
def test_a_circle_becomes_one_of_radius_1_and_comes_back_inside(ends):
    layer = Unconstrain([("circular", *ends), "positive"])
    low, high = ends
    places = np.concatenate([np.linspace(0, 1, 97), [1e-7, 1 - 1e-7]])
    x = np.stack([low + (high - low) * places, np.ones(99)], axis=1).astype("float32")
    z, log_det = layer(x)
    assert (f64(z)[:, 0] >= -np.float32(math.pi)).all()
    assert (f64(z)[:, 0] < np.float32(math.pi)).all()
    slope = 2 * math.pi / (high - low)
    np.testing.assert_allclose(f64(log_det), np.log(slope), rtol=1e-5, atol=1e-6)
    back, log_det_back = layer.inverse(z)
    np.testing.assert_allclose(f64(log_det_back), -f64(log_det), rtol=1e-6, atol=1e-6)
    back = f64(back)[:, 0]
    assert back.min() >= low
    assert back.max() < high
    gap = np.abs(back - x[:, 0])
    assert np.minimum(gap, np.abs(gap - (high - low))).max() < 4e-7 * max(abs(low), abs(high))
    assert layer.spec.domain == Domain.each(Domain.circle(*ends), Domain.POSITIVE)
    assert layer.spec.codomain == Domain.each(Domain.CIRCLE, Domain.REAL)
    assert type(layer).from_config(layer.get_config()).spec == layer.spec
