"""What is known of a log-det where rounding hides the determinant."""

import numpy as np

from flowkit.testing.tolerances import log_abs_det

EPS = 2.0**-23


def bound(matrix, noise=0.0):
    matrix = np.array([matrix], "float64")
    (value,), (error,), _ = log_abs_det(matrix, np.full_like(matrix, noise), EPS)
    return value, error


def test_what_float32_sees_as_singular_has_a_bound_above_the_truth():
    seen = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-9]], "float32")  # log|det| = -20.7, rounded away
    value, error = bound(seen)
    assert error == np.inf
    assert -20.7 < value < -5


def test_of_a_row_of_noise_nothing_is_known():
    assert bound([[1.0, 0.0], [0.0, 1e-38]], noise=np.inf) == (np.inf, np.inf)


def test_a_flat_slope_is_one_unit_at_most():
    value, error = bound([[0.0]])
    assert (value, error) == (np.log(EPS), np.inf)
    for size in (2, 16):
        value, error = bound(np.diag([2.0] + [1.0] * (size - 2) + [0.0]))
        assert error == np.inf
        assert np.isclose(value, np.log(2) + np.log(EPS), atol=1e-3)


def test_a_determinant_in_sight_has_a_finite_error():
    value, error = bound([[2.0, 1.0], [0.0, 3.0]])
    assert np.isclose(value, np.log(6))
    assert 0 < error < 1e-5
