"""What a coupling does to its numbers: as `keras.ops` has it, on every engine."""

import numpy as np
import pytest
from keras import ops

from flowkit.contract import sum_event
from flowkit.engines import engine


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_functions_of_a_number_keep_their_tails(dtype):
    with engine.float64():
        x = ops.convert_to_tensor(np.array([-80.0, -1.0, 0.0, 1.0, 80.0]), dtype=dtype)
        log, plain = (ops.convert_to_numpy(a) for a in engine.log_sigmoid_and_sigmoid(x))
        wanted = -np.logaddexp(0, -ops.convert_to_numpy(x).astype("float64"))
    np.testing.assert_allclose(log, wanted, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(plain, np.exp(wanted), rtol=4 * np.finfo(dtype).eps)


def test_axes_are_those_that_are_meant():
    x = np.arange(24.0, dtype="float32").reshape(2, 3, 4)
    given = ops.convert_to_tensor(x)
    for found, kept in (
        (engine.split(given, [1, 3]), (x[..., :1], x[..., 1:])),
        (engine.split(given, [1, 2], axis=1), (x[:, :1], x[:, 1:])),
        (engine.unstack(given, axis=-2), np.moveaxis(x, 1, 0)),
        ([engine.concatenate(engine.unstack(given, axis=-2))], [x.reshape(2, 12)]),
        ([sum_event(given)], [[66, 210]]),
    ):
        for one, other in zip(found, kept, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(one), other)


def test_what_reaches_an_edge_is_1_and_what_is_no_number_0():
    x = np.array([[-np.inf, 1.0, np.nextafter(np.float32(1), np.float32(0)), np.nan]], "float32")
    found = engine.reaches(ops.convert_to_tensor(x), ops.ones((1, 4)))
    np.testing.assert_array_equal(ops.convert_to_numpy(found), [[0, 1, 0, 0]])
