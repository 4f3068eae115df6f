"""Reshape and Flatten: row-major order, and the sizes they refuse."""

import numpy as np
import pytest
from arrays import array

from flowkit.bijectors import Flatten, Reshape

pytestmark = pytest.mark.one_engine

X = np.arange(24, dtype="float32").reshape(2, 3, 4)


@pytest.mark.parametrize("layer", [Reshape((2, 6)), Reshape((12,)), Flatten(), Reshape((2, 2, 3))])
def test_there_and_back_in_row_major_order(layer):
    z, log_det = layer(X)
    np.testing.assert_array_equal(array(z).ravel(), X.ravel())
    np.testing.assert_array_equal(array(layer.inverse(z)[0]), X)
    np.testing.assert_array_equal(array(log_det), np.zeros(2))
    assert tuple(z.shape) == layer.compute_output_shape(X.shape)
    assert layer.compute_inverse_shape(tuple(z.shape)) == X.shape
