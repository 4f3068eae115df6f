"""Columns with bounds: the identity in the middle, inside however far out, and digits near the ends."""

import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import SoftBounds
from flowkit.contract import Domain

pytestmark = pytest.mark.one_engine

BOUNDS = [(0.0, 10.0), (-1.0, 1.0)]


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def test_it_moves_what_is_near_a_bound():
    layer = SoftBounds(BOUNDS)
    assert layer.spec.domain == Domain.intervals(*BOUNDS)
    x = np.array([[5.0, 0.0], [2.0, 0.5], [0.01, 0.99]], "float32")
    z, log_det = layer(x)
    np.testing.assert_allclose(numbers(z)[:2], x[:2], atol=1e-2)
    assert numbers(z)[2, 0] < -0.5
    assert numbers(z)[2, 1] > 1.05
    np.testing.assert_allclose(numbers(log_det)[:2], 0, atol=2e-3)
    assert numbers(log_det)[2] > 3


def test_what_is_drawn_stays_inside_however_far_out():
    layer = SoftBounds(BOUNDS)
    z = np.repeat(np.array([[-1e4], [-20.0], [0.0], [30.0], [1e4]], "float32"), 2, axis=1)
    x, log_det = layer.inverse(z)
    assert layer.spec.domain.contains(x)
    assert np.isfinite(numbers(log_det)).all()
    assert np.isfinite(numbers(layer(x)[0])).all()
    assert np.isfinite(numbers(layer(x)[1])).all()


def test_the_ends_keep_their_digits():
    layer = SoftBounds(BOUNDS)
    x = np.array([[1e-20, -0.999], [9.99, 0.9999]], "float32")
    z, _ = layer(x)
    np.testing.assert_allclose(numbers(layer.inverse(z)[0]), x, rtol=1e-4)
