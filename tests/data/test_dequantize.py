"""From continuous values back to stored ones, whatever a flow gives."""

import warnings

import numpy as np
import pytest

from flowkit.data import Dequantize


@pytest.mark.parametrize(("options", "top"), [({}, 255), ({"n_bits": 5}, 248), ({"levels": 17}, 16)])
def test_what_lies_outside_takes_the_nearest_value_and_nan_0(options, top):
    outside = np.array([-np.inf, -1e38, -0.5, 0.5, 1e38, np.inf, np.nan], "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = Dequantize(**options).as_stored(outside)
    np.testing.assert_array_equal(stored, [0, 0, 0, top, top, top, 0])
