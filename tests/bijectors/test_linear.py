"""Linear layers: their matrices against numpy in float64, and where they start."""

import functools

import numpy as np
import pytest
from arrays import array, f64
from keras import ops

from flowkit.bijectors import (
    CayleyRotation,
    Conv1x1,
    HouseholderRotation,
    LULinear,
    MatrixExponential,
    Planar,
    QRLinear,
    Radial,
    Scale,
    Shift,
    SVDLinear,
    Sylvester,
    Woodbury,
)
from flowkit.bijectors.linear import exponential
from flowkit.bijectors.rotations import reflected
from flowkit.contract import ContractError
from flowkit.engines import engine

pytestmark = pytest.mark.one_engine

EPSILON = np.finfo("float32").eps
DOUBLE = np.finfo("float64").eps
ROTATIONS = [CayleyRotation, HouseholderRotation]
FULL = [*ROTATIONS, LULinear, MatrixExponential, QRLinear, SVDLinear]
OTHERS = [Shift, Scale, Planar, Radial, Sylvester]


def name(layer):
    return getattr(layer, "__name__", None)


@pytest.mark.parametrize("make", [*FULL, *OTHERS, lambda: Woodbury(2), lambda: Conv1x1(init="identity")])
def test_it_starts_at_the_identity(make):
    x = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    z, log_det = make()(x)
    np.testing.assert_allclose(f64(z), x, atol=16 * EPSILON * np.abs(x).max())
    np.testing.assert_allclose(f64(log_det), 0, atol=8 * EPSILON)


@pytest.mark.wide
@pytest.mark.parametrize("make", [*FULL, Conv1x1, functools.partial(Conv1x1, lu=False)], ids=name)
@pytest.mark.parametrize("size", [1, 4, 5])
def test_a_random_start_is_a_rotation_drawn_from_the_seed(make, size):
    def start(seed):
        layer = make(init="random", seed=seed)
        layer.build((None, size))
        np.testing.assert_allclose(f64(layer.log_abs_det()), 0, atol=8 * size * EPSILON)
        return f64(layer.matrix())

    first = start(0)
    np.testing.assert_allclose(first @ first.T, np.eye(size), atol=16 * size * EPSILON)
    np.testing.assert_array_equal(first, start(0))
    if size > 1:
        assert np.abs(first - start(1)).max() > 0.1
        assert np.abs(first - np.eye(size)).max() > 0.1


@pytest.mark.parametrize("make", ROTATIONS, ids=name)
def test_a_rotation_stays_one(make, perturb):
    layer = make(seed=0)
    layer.build((None, 7))
    perturb(layer, scale=1.0)
    matrix = f64(layer.matrix())
    assert np.abs(matrix - np.eye(7)).max() > 0.5
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(7), atol=64 * EPSILON)
    assert abs(np.linalg.det(matrix) - 1) < 7 * 64 * EPSILON
    assert layer.spec.log_det == "zero"


@pytest.mark.wide
@pytest.mark.parametrize(("k", "columns"), [(1, None), (4, None), (9, 3), (40, None)])
def test_reflections_at_once_are_those_one_after_another(k, columns):
    rng = np.random.default_rng(k)
    vectors = rng.normal(size=(k, 6)) * np.exp(rng.normal(0, 4, size=(k, 1)))  # their lengths do not matter
    vectors[k // 2 :] = vectors[: k - k // 2] if k > 1 else vectors  # nor that some are equal
    expected = np.eye(6)
    for v in vectors:
        expected = expected @ (np.eye(6) - 2 * np.outer(v, v) / (v @ v))
    with engine.float64():
        received = array(reflected(ops.convert_to_tensor(vectors), columns))
    np.testing.assert_allclose(received, expected[:, :columns], atol=64 * k * DOUBLE)


@pytest.mark.parametrize("size", [0.0, 0.3, 3.0, 5.0, 40.0, 700.0])
def test_the_exponential_is_that_of_the_eigenvalues(size):
    """A symmetric matrix, whose exponential numpy's eigenvectors give."""
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    values = np.linspace(-1, 0.2, 6) * size
    matrix, expected = (vectors * values) @ vectors.T, (vectors * np.exp(values)) @ vectors.T
    with engine.float64():
        received = array(exponential(ops.convert_to_tensor(matrix)))
    # Rounding of M itself moves exp(M) by its norm, and each squaring doubles what it finds.
    np.testing.assert_allclose(
        received, expected, rtol=0, atol=64 * DOUBLE * max(1, size) * np.exp(0.2 * size)
    )


@pytest.mark.parametrize("norm", [3.0, 5.0, 12.0])
def test_the_round_trip_of_an_exponential_of_large_norm(norm):
    """Eight terms of the plain series, as another library takes, leave 1e-4 at norm 3 and 0.04 at norm 5."""
    drawn = np.random.default_rng(0).normal(size=(4, 4))
    layer = MatrixExponential()
    layer.build((None, 4))
    layer.exponent.assign(drawn * norm / np.linalg.norm(drawn, 2))
    matrix, inverse = f64(layer.matrix()), f64(layer.matrix(inverse=True))
    allowed = 64 * EPSILON * np.linalg.norm(matrix, 2) * np.linalg.norm(inverse, 2)
    np.testing.assert_allclose(matrix @ inverse, np.eye(4), atol=allowed)
    np.testing.assert_allclose(f64(layer.log_abs_det()), np.linalg.slogdet(matrix)[1], atol=allowed)


def test_a_woodbury_matrix_is_the_identity_but_for_its_rank(perturb):
    layer = Woodbury(2, init="random", seed=0)
    layer.build((None, 6))
    perturb(layer, scale=0.4)
    left, right = (f64(factor) for factor in layer.factors())
    np.testing.assert_allclose(right @ right.T, np.eye(2), atol=16 * EPSILON)
    core = np.eye(2) + right @ left  # T: upper triangular, with a diagonal above 0
    assert abs(core[1, 0]) < 16 * EPSILON
    assert (np.diag(core) > 0).all()
    np.testing.assert_allclose(f64(layer.matrix()), np.eye(6) + left @ right, atol=16 * EPSILON)
    with pytest.raises(ContractError, match="at least rank=2 channels, received 1"):
        Woodbury(2)(np.ones((3, 1), "float32"))


@pytest.mark.parametrize("make", [LULinear, QRLinear], ids=name)
def test_no_weight_makes_it_singular(make):
    layer = make()
    layer.build((None, 3))
    layer.raw.assign([-1e4, 0.0, 50.0])
    smallest, _, largest = np.sort(np.abs(np.linalg.eigvals(f64(layer.matrix()))))
    assert abs(smallest / 1e-3 - 1) < 1e-4
    assert 40 < largest < 60
    assert np.isfinite(f64(layer.matrix(inverse=True))).all()


def test_the_scales_of_a_decomposition_are_bounded():
    layer = SVDLinear(bound=2.0)
    layer.build((None, 2))
    layer.raw.assign([-1e4, 1e4])
    np.testing.assert_allclose(
        np.linalg.svd(f64(layer.matrix()))[1], [np.exp(2), np.exp(-2)], rtol=32 * EPSILON
    )
