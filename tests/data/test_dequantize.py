"""From continuous values back to stored ones, whatever a flow gives."""

import math
import warnings

import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import Scale
from flowkit.data import Dequantize, VariationalDequantize
from flowkit.testing import check_bijector


@pytest.mark.parametrize(("options", "top"), [({}, 255), ({"n_bits": 5}, 248), ({"levels": 17}, 16)])
def test_what_lies_outside_takes_the_nearest_value_and_nan_0(options, top):
    outside = np.array([-np.inf, -1e38, -0.5, 0.5, 1e38, np.inf, np.nan], "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = Dequantize(**options).as_stored(outside)
    np.testing.assert_array_equal(stored, [0, 0, 0, top, top, top, 0])


@pytest.mark.parametrize(("options", "top"), [({}, 255), ({"n_bits": 5}, 255), ({"levels": 17}, 16)])
def test_noise_stays_inside_its_value(options, top):
    """255 + 0.9999999 is 256 in float32."""
    layer, stored = Dequantize(**options), np.arange(top + 1)
    y, _ = layer(stored[:, None], noise=np.full((top + 1, 1), 1 - 2**-24, "float32"))
    y = ops.convert_to_numpy(y)[:, 0]
    assert y.max() < 0.5
    np.testing.assert_array_equal(layer.as_stored(y), stored // layer.step * layer.step)


@pytest.mark.parametrize(("levels", "top"), [(256, 255), (17, 16)])
def test_learned_noise_stays_inside_its_value(levels, top):
    """sigmoid(40) is 1 in float32, and 255 + 1 the next value."""
    layer = VariationalDequantize(Scale(math.log(40.0)), n_bits=None, levels=levels)
    y, log_det = layer(np.full((2, 1), float(top)), noise=np.ones((2, 1), "float32"))
    y = ops.convert_to_numpy(y)
    assert y.max() < 0.5
    assert (layer.as_stored(y) == top).all()
    assert np.isfinite(ops.convert_to_numpy(log_det)).all()


def test_learned_noise_near_1_has_the_log_det_of_its_gradient():
    """A minimum of u and 1 - 2^-16 has the gradient 0, or half of it."""
    layer = VariationalDequantize(Scale(math.log(6.0)))
    check_bijector(layer, event_shapes=[(4,)], clauses=["log-det"])
