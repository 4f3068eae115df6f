"""Conv1x1: the matrix, its inverse and its determinant against numpy in float64."""

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import Conv1x1

EPSILON = np.finfo("float32").eps
C = 6


@pytest.fixture
def lu():
    """A factored layer whose weights are off their start, and hold rubbish where a triangle is not used."""
    layer = Conv1x1(seed=3)
    layer.build((None, C))
    rng = np.random.default_rng(0)
    for weight in (layer.lower, layer.upper, layer.log_s):
        weight.assign(f64(weight) + rng.normal(0, 0.2, tuple(weight.shape)))
    return layer


def by_hand(layer):
    """P (L + I) (U + diag(sign exp(log_s))) in float64."""
    lower = np.tril(f64(layer.lower), -1) + np.eye(C)
    upper = np.triu(f64(layer.upper), 1) + np.diag(f64(layer.sign) * np.exp(f64(layer.log_s)))
    return f64(layer.permutation) @ lower @ upper


def test_the_factored_inverse_and_log_det_are_those_of_numpy(lu):
    w = by_hand(lu)
    atol = 4 * C * EPSILON * np.linalg.cond(w) * np.abs(np.linalg.inv(w)).max()
    np.testing.assert_allclose(f64(lu.matrix(inverse=True)), np.linalg.inv(w), atol=atol)
    np.testing.assert_allclose(f64(lu.log_abs_det()), np.linalg.slogdet(w)[1], atol=C * EPSILON)


@pytest.mark.wide
@pytest.mark.parametrize("seed", range(6))
def test_the_plain_matrix_has_numpys_log_det_whatever_its_sign(seed):
    w = np.random.default_rng(seed).normal(size=(C, C)).astype("float32")
    w[0] *= np.sign(np.linalg.det(w)) * (-1) ** seed  # half of them have a negative determinant
    assert np.sign(np.linalg.det(w)) == (-1) ** seed
    layer = Conv1x1(lu=False)
    layer.build((None, C))
    layer.kernel.assign(w)
    # A relative error of eps * cond in the matrix moves log|det| by as much, for each of C factors.
    atol = C * EPSILON * np.linalg.cond(w)
    np.testing.assert_allclose(f64(layer.log_abs_det()), np.linalg.slogdet(w.astype("float64"))[1], atol=atol)


@pytest.mark.parametrize("factored", [True, False])
def test_a_matrix_that_is_assigned_is_the_matrix(factored):
    matrix = np.random.default_rng(0).normal(size=(C, C))
    layer = Conv1x1(lu=factored)
    layer.build((None, C))
    layer.assign(matrix)
    # Two products of C terms each; the factors of partial pivoting grow to the size of the matrix.
    np.testing.assert_allclose(f64(layer.matrix()), matrix, atol=4 * C * EPSILON * np.abs(matrix).max())
    expected = np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(f64(layer.log_abs_det()), expected, atol=4 * C * EPSILON)
