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
    Solved,
    StraightTails,
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
@pytest.mark.parametrize("transform", [t for t in TRANSFORMS if isinstance(t, Solved)], ids=repr)
@pytest.mark.parametrize("scale", [0.0, 1.0, 6.0, 20.0])
def test_the_bracket_holds_the_root(transform, scale):
    with engine.float64():
        h = drawn(transform, scale, shape=(500, 1))[1]
        y = np.random.default_rng(3).normal(size=(500, 1)) * np.array([1, 10, 1e4])[np.arange(500) % 3, None]
        prepared = transform.prepare(h)
        ends = transform.bracket(ops.convert_to_tensor(y), *prepared)
        low, high = (ops.convert_to_numpy(transform.forward(end, *prepared)[0]) for end in ends)
    slack = 1e-9 * (1 + np.abs(y))
    assert np.all(low <= y + slack)
    assert np.all(high >= y - slack)


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Affine("tanh", min_scale=0.1), "got 0.1, expected 0 for scale='tanh'"),
        (lambda: Affine("sigmoid", bound=3.0), "bound: got 3.0, expected 2.0 for scale='sigmoid'"),
        (lambda: QuadraticSpline(1000), "bins: got 1000, expected a whole number from 2 to 999"),
        (lambda: Bernstein(65), "degree: got 65, expected a whole number from 1 to 64"),
        (lambda: SumOfSquares(degree=33), "degree: got 33, expected a whole number from 1 to 32"),
        (lambda: UnconstrainedMonotone(nodes=2), "nodes: got 2, expected a whole number from 3 up"),
        *(
            (lambda base=base, method=method: getattr(type("Nothing", (base,), {})(), method)(None), method)
            for base, method in (
                *((Transform, method) for method in ("prepare", "forward", "inverse")),
                (Solved, "bracket"),
                (StraightTails, "within"),
            )
        ),
    ],
)
def test_what_it_cannot_be_is_refused(make, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        make()
