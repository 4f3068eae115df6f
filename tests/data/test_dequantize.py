"""From continuous values back to stored ones, whatever a flow gives."""

import warnings

import numpy as np
import pytest
from keras import ops

from flowkit.data import Dequantize


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
