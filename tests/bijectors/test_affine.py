"""Shift and Scale: given or learned."""

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import Scale, Shift

pytestmark = pytest.mark.one_engine

EPSILON = np.finfo("float32").eps
X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")


@pytest.mark.parametrize("given", [0.5, [0.1, -0.2, 0.3]])
def test_given_values_are_fixed(given):
    shift, scale = Shift(given), Scale(given)
    np.testing.assert_allclose(f64(shift(X)[0]), X + np.array(given), atol=4 * EPSILON * 4)
    z, log_det = scale(X)
    np.testing.assert_allclose(f64(z), X * np.exp(given), rtol=4 * EPSILON)
    np.testing.assert_allclose(f64(log_det), 5 * np.sum(np.broadcast_to(given, 3)), rtol=8 * EPSILON)
    assert shift.trainable_weights == scale.trainable_weights == []


def test_learned_ones_start_as_the_identity():
    for layer in (Shift(), Scale()):
        z, log_det = layer(X)
        np.testing.assert_array_equal(f64(z), X)
        np.testing.assert_array_equal(f64(log_det), np.zeros(4))
        assert [tuple(w.shape) for w in layer.trainable_weights] == [(3,)]
