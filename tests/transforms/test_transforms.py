"""Every transform increases, and has the map that is documented for raw numbers of 0."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit.contract import Domain
from flowkit.engines import engine
from flowkit.transforms import (
    Additive,
    Affine,
    Bernstein,
    CircularRationalQuadratic,
    Gaussian,
    LinearSpline,
    MixtureOfLogistics,
    QuadraticSpline,
    RationalQuadratic,
    ScaleShift,
    SigmoidMixture,
    SoftClippedSpline,
    SumOfSquares,
    Transform,
    UnconstrainedMonotone,
)

TRANSFORMS = [
    Additive(),
    Affine(),
    Affine(min_scale=0.2),
    Affine("tanh"),
    Affine(order="scale-shift"),
    ScaleShift(),
    ScaleShift("softplus", least=0.1),
    ScaleShift("sigmoid"),
    SoftClippedSpline(),
    SoftClippedSpline(3, bound=1.5, least=0.01),
    Gaussian(),
    Gaussian(min_scale=0.1),
    RationalQuadratic(),
    RationalQuadratic(2, bound=1.5),
    RationalQuadratic(4, tails="affine"),
    CircularRationalQuadratic(),
    CircularRationalQuadratic(2),
    QuadraticSpline(),
    QuadraticSpline(2, bound=1.5),
    QuadraticSpline(4, tails="affine"),
    LinearSpline(),
    LinearSpline(3, bound=2.0),
    Bernstein(),
    Bernstein(1),
    Bernstein(7, bound=2.0),
    SumOfSquares(),
    SumOfSquares(1, 2, bound=2.0),
    SigmoidMixture(),
    SigmoidMixture(1),
    SigmoidMixture(4, spread=0.0),
    MixtureOfLogistics(),
    MixtureOfLogistics(1),
    MixtureOfLogistics(4, spread=0.0),
    UnconstrainedMonotone(),
    UnconstrainedMonotone(1, nodes=3, bound=2.0),
]
every = pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)


def drawn(transform, scale=1.0, shape=(64, 3), dtype="float64", seed=0):
    """(x, raw numbers) as tensors: x from far inside to far outside of any spline, if the domain is the real line."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * rng.choice([0.1, 1, 10], size=shape)
    if transform.domain != Domain.REAL:
        x = x / 10
    h = scale * rng.normal(size=(shape[0], transform.parameters, shape[1]))
    x = transform.domain.from_real(ops.convert_to_tensor(x, dtype=dtype))
    return x, ops.convert_to_tensor(h, dtype=dtype)


@every
@pytest.mark.one_engine
def test_it_increases(transform):
    with engine.float64():
        line = ops.convert_to_tensor(np.linspace(-12, 12, 1001)[:, None], dtype="float64")
        h = drawn(transform, 2.0, shape=(1, 1))[1]
        y = transform.forward(transform.domain.from_real(line), *transform.prepare(h))[0]
        assert transform.codomain.contains(y)
        rise = np.diff(ops.convert_to_numpy(y)[:, 0])
        if transform.codomain == Domain.CIRCLE:
            assert np.sum(rise < 0) <= 1  # where it passes the seam
            rise = rise % (2 * np.pi)
        assert np.all(rise > 0)


@every
@pytest.mark.one_engine
def test_raw_numbers_of_zero_are_the_identity_or_what_is_documented(transform):
    x = transform.domain.from_real(ops.convert_to_tensor(np.linspace(-7, 7, 29)[:, None], dtype="float32"))
    y, _ = transform.forward(x, *transform.prepare(ops.zeros((29, transform.parameters, 1))))
    expected = x
    if isinstance(transform, Affine) and transform.scale == "sigmoid":
        expected = x * (transform.min_scale + (1 - transform.min_scale) * ops.sigmoid(2.0))
    if isinstance(transform, ScaleShift) and transform.scale != "softclip":
        first = np.log(2) if transform.scale == "softplus" else 1 / (1 + np.exp(-2))
        expected = x * (first + transform.least)
    if isinstance(transform, (SigmoidMixture, MixtureOfLogistics)) and transform.parameters > 5:
        units = transform.parameters // 3
        steps = np.linspace(-transform.spread, transform.spread, units)
        share = np.mean(1 / (1 + np.exp(-ops.convert_to_numpy(x) - steps)), axis=1, keepdims=True)
        expected = np.log(share / (1 - share))
    np.testing.assert_allclose(ops.convert_to_numpy(y), np.asarray(expected), atol=5e-6)


@pytest.mark.one_engine
@every
def test_it_is_known_by_its_arguments(transform):
    config = keras.saving.serialize_keras_object(transform)
    again = keras.saving.deserialize_keras_object(config)
    assert again == transform
    assert hash(again) == hash(transform)
    assert repr(again) == repr(transform)
    assert again != RationalQuadratic(3)


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Affine("exp"),
            "Affine's scale: got 'exp', expected one of 'sigmoid', 'sigmoid2', 'tanh'",
        ),
        (lambda: Affine("tanh", min_scale=0.1), "got 0.1, expected 0 for scale='tanh'"),
        (lambda: Affine(min_scale=1.0), r"min_scale: got 1.0, expected a number in \[0, 1\)"),
        (lambda: Affine(order="shift"), "Affine's order: got 'shift', expected one of"),
        (
            lambda: ScaleShift("exp"),
            "ScaleShift's scale: got 'exp', expected one of 'softclip', 'softplus', 'sigmoid'",
        ),
        (lambda: ScaleShift(least=0.0), "least: got 0.0, expected a number between 0 and 1"),
        (lambda: SoftClippedSpline(least=1.0), "least: got 1.0, expected a number between 0 and 1"),
        (lambda: Gaussian(min_scale=-1), r"min_scale: got -1, expected a number in \[0, 1\)"),
        (lambda: RationalQuadratic(1), "bins: got 1, expected a whole number from 2 to 999"),
        (lambda: RationalQuadratic(bound=0.0), "bound: got 0.0, expected a finite number above 0"),
        (lambda: SigmoidMixture(spread=-1.0), "spread: got -1.0, expected a finite number from 0 up"),
    ],
)
def test_what_it_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.one_engine
@pytest.mark.parametrize("method", ["prepare", "forward", "inverse"])
def test_an_author_is_told_what_is_missing(method):
    class Nothing(Transform):
        pass

    with pytest.raises(NotImplementedError, match=f"Nothing has no {method}"):
        getattr(Nothing(), method)(None)


def test_a_spline_far_from_its_start_keeps_its_digits():
    """Where the usual quadratic formula cancels: discriminants below 0, and errors of a twentieth."""
    spline = RationalQuadratic()
    x, h = drawn(spline, 6.0, shape=(4000, 2), dtype="float32")
    x = ops.clip(x, -4.9, 4.9)
    prepared = spline.prepare(h)
    y, _ = spline.forward(x, *prepared)
    back, log_slope = spline.inverse(y, *prepared)
    assert np.isfinite(ops.convert_to_numpy(log_slope)).all()
    again, _ = spline.forward(back, *prepared)
    # x itself is lost in a bin that is flat; its image is not.
    np.testing.assert_allclose(ops.convert_to_numpy(again), ops.convert_to_numpy(y), atol=2e-4)
