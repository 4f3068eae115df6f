"""flowkit.numerics: float64 and float32 are kept, in values and in gradients, also at the edges."""

import decimal
import math

import keras
import numpy as np
import pytest
from arrays import array, precision, tensor
from keras import ops

from flowkit import numerics
from flowkit.engines import engine

decimal.getcontext().prec = 400  # so that 1 + exp(-200) is not 1
ROUNDINGS = 8  # of an engine's own functions, where those of the language leave one


def exactly(function):
    """A function of decimals as one of floats, rounded once."""
    return lambda *args: float(function(*map(decimal.Decimal, args)))


def each(function, *arrays):
    return np.vectorize(function)(*arrays)


def row_sums(x):
    return np.array([[math.fsum(row[: i + 1]) for i in range(len(row))] for row in x])


def product(a, b):
    return np.array(
        [[math.fsum(x * y for x, y in zip(row, column, strict=True)) for column in b.T] for row in a]
    )


RNG = np.random.default_rng(0)
# float32 numbers, so that a truth holds for both types.
LINE = np.concatenate([-np.logspace(-6, 1.9, 33), [0.0], np.logspace(-6, 1.9, 33)]).astype("float32")
A, B = RNG.normal(size=(2, 4, 4)).astype("float32")

# name -> (function of tensors, its arguments, the truth in float64)
CASES = {
    "arctan": (numerics.arctan, [LINE], lambda x: each(math.atan, x)),
    "cos": (numerics.cos, [LINE], lambda x: each(math.cos, x)),
    "cumsum": (lambda x: numerics.cumsum(x, axis=-1), [A], row_sums),
    "cumsum of all": (numerics.cumsum, [A], lambda x: row_sums([x.ravel()])[0]),
    "lgamma": (numerics.lgamma, [LINE[LINE > 0]], lambda x: each(math.lgamma, x)),
    "log1mexp": (
        numerics.log1mexp,
        [LINE[LINE > 0]],
        lambda x: each(exactly(lambda x: (1 - (-x).exp()).ln()), x),
    ),
    "log_sigmoid": (
        numerics.log_sigmoid,
        [LINE],
        lambda x: each(exactly(lambda x: -(1 + (-x).exp()).ln()), x),
    ),
    "logaddexp": (
        numerics.logaddexp,
        [LINE, LINE[::-1] / 3],
        lambda x, y: each(exactly(lambda x, y: (x.exp() + y.exp()).ln()), x, y),
    ),
    "matmul": (numerics.matmul, [A, B], product),
    "maximum": (numerics.maximum, [A, B], np.maximum),
    "mean": (lambda x: numerics.mean(x, axis=-1), [A], lambda x: row_sums(x)[:, -1] / 4),
    "mean of all": (
        lambda x: numerics.mean(x, axis=(0, 1), keepdims=True),
        [A],
        lambda x: [[math.fsum(x.ravel()) / 16]],
    ),
    "minimum": (numerics.minimum, [A, B], np.minimum),
    "norm": (lambda x: numerics.norm(x, axis=-1), [A], lambda x: [math.hypot(*row) for row in x]),
    "norm of all": (lambda x: numerics.norm(x, keepdims=True), [A], lambda x: [[math.hypot(*x.ravel())]]),
    "sin": (numerics.sin, [LINE], lambda x: each(math.sin, x)),
    "softplus": (numerics.softplus, [LINE], lambda x: each(exactly(lambda x: (1 + x.exp()).ln()), x)),
    "tanh": (numerics.tanh, [LINE], lambda x: each(math.tanh, x)),
}


def test_every_function_is_held_here():
    assert {case.partition(" ")[0] for case in CASES} | {"solve_increasing"} == set(numerics.__all__)


def hold(case, result, dtype):
    """Compare the values of a case with the truth, within a few roundings of their type."""
    _, args, truth = CASES[case]
    expected = np.asarray(truth(*(x.astype("float64") for x in args)))
    assert result.dtype == dtype
    assert result.shape == expected.shape
    scale = np.maximum(np.abs(expected), TERMS.get(case.partition(" ")[0], 0))
    assert np.max(np.abs(result - expected) - ROUNDINGS * np.finfo(dtype).eps * scale) <= 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_values_have_the_precision_of_their_type(case, dtype):
    function, args, _ = CASES[case]
    with precision(dtype):
        hold(case, array(function(*(tensor(x, dtype) for x in args))), dtype)


@pytest.mark.every_engine
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_values_have_it_too(dtype):
    """All functions in one program: each compilation takes a while."""

    def every(inputs):
        return {case: function(*inputs[case]) for case, (function, *_) in CASES.items()}

    with precision(dtype):
        inputs = {case: [tensor(x, dtype) for x in args] for case, (_, args, _) in CASES.items()}
        results = engine.compile_fully(every, keras.layers.Identity())(inputs)
        for case, result in results.items():
            hold(case, array(result), dtype)


# Sums, which are exact beside their terms; those of Lanczos's series, by which engines compute lgamma, begin at 8.
TERMS = {"cumsum": 1, "lgamma": 8, "logaddexp": 1, "matmul": 1, "mean": 1}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_values(case):
    function, args, _ = CASES[case]
    args = [x.astype("float64") for x in args]
    eps = np.finfo("float64").eps

    def value(*args):
        return array(function(*(tensor(x, "float64") for x in args)))

    with engine.float64():
        weight = RNG.uniform(0.5, 1.5, np.shape(value(*args)))
        _, gradients = engine.gradients(
            lambda tensors: ops.sum(function(*tensors) * tensor(weight, "float64")),
            [tensor(x, "float64") for x in args],
        )
        for i, (x, gradient) in enumerate(zip(args, map(array, gradients), strict=True)):
            assert gradient.dtype == "float64"
            for place in np.ndindex(x.shape):
                step = np.zeros_like(x)
                step[place] = 1e-5 * np.clip(np.abs(x[place]), 1e-7, 1)
                above, below = (value(*args[:i], x + s * step, *args[i + 1 :]) for s in (1, -1))
                slope = np.sum(weight * (above - below)) / (2 * step[place])
                rounding = ROUNDINGS * eps * np.max(np.abs(above[above != below]), initial=1) / step[place]
                assert abs(gradient[place] - slope) <= rounding + 1e-8 * abs(slope)


@pytest.mark.parametrize("name", ["tanh", "lgamma", "log1mexp", "softplus", "norm", "mean"])
def test_integers_and_plain_numbers_become_floats(name):
    function = getattr(numerics, name)
    whole = function(ops.convert_to_tensor([1, 2], dtype="int32"))
    np.testing.assert_array_equal(array(whole), array(function(tensor([1, 2], "float32"))))
    assert array(whole).dtype == array(function(2)).dtype == array(function(2.0)).dtype == "float32"
    with engine.float64():
        assert float(function(2)) == float(function(2.0)) == float(function(tensor(2, "float64")))


def test_float64_prevails_over_float32_and_over_numbers():
    with engine.float64():
        wide, narrow = tensor([[0.1]], "float64"), tensor([[0.1]], "float32")
        for function in (numerics.matmul, numerics.logaddexp, numerics.maximum):
            assert array(function(wide, narrow)).dtype == array(function(narrow, wide)).dtype == "float64"
        assert array(numerics.logaddexp(narrow, 0.1)).dtype == "float32"
        # A number has the precision of the tensor beside it: 0.2 exactly, and the largest float64.
        assert float(numerics.maximum(wide, 0.2)[0, 0]) == 0.2
        assert float(numerics.maximum(wide, np.finfo("float64").max)[0, 0]) == np.finfo("float64").max


def gradients_at(function, *args, dtype="float32"):
    value, gradients = engine.gradients(
        lambda tensors: ops.sum(function(*tensors)), [tensor(x, dtype) for x in args]
    )
    return float(value), [array(g).tolist() for g in gradients]


def test_norm_at_the_edges():
    row = lambda x: numerics.norm(x, axis=-1)  # noqa: E731
    assert gradients_at(row, [0.0, 0.0]) == (0.0, [[0.0, 0.0]])
    for size in (1e-30, 1e30):  # their squares are no float32 numbers
        value, (gradient,) = gradients_at(row, [3 * size, -4 * size])
        np.testing.assert_allclose([value / size, *gradient], [5, 0.6, -0.8], rtol=1e-6)
    assert array(row(ops.ones((0, 3)))).shape == (0,)
    assert math.isinf(float(row(tensor([math.inf, 1.0], "float32"))))


@pytest.mark.parametrize(
    ("x", "value", "gradient"),
    [
        ((-math.inf, 1.0), 1.0, [0.0, 1.0]),
        ((1.0, -math.inf), 1.0, [1.0, 0.0]),
        ((-math.inf, -math.inf), -math.inf, [1.0, 0.0]),
        ((math.inf, 1.0), math.inf, [1.0, 0.0]),
        ((0.0, 0.0), math.log(2), [0.5, 0.5]),
        ((0.0, -80.0), math.exp(-80), [1.0, math.exp(-80)]),
    ],
)
def test_logaddexp_at_the_edges(x, value, gradient):
    found = gradients_at(numerics.logaddexp, *x)
    np.testing.assert_allclose([found[0], *found[1]], [value, *gradient], rtol=1e-6)


@pytest.mark.parametrize("name", ["softplus", "log_sigmoid"])
def test_far_out_softplus_and_log_sigmoid_are_straight_lines(name):
    rising = gradients_at(getattr(numerics, name), 1e4 if name == "softplus" else -1e4)
    flat = gradients_at(getattr(numerics, name), -1e4 if name == "softplus" else 1e4)
    assert rising == (1e4 if name == "softplus" else -1e4, [1.0])
    assert flat == (0.0, [0.0])


def test_log1mexp_at_the_edges():
    assert gradients_at(numerics.log1mexp, 0.0) == (-math.inf, [math.inf])
    assert gradients_at(numerics.log1mexp, 1e4) == (0.0, [0.0])
    value, (gradient,) = gradients_at(numerics.log1mexp, 1e-30)
    np.testing.assert_allclose([value, gradient], [math.log(1e-30), 1e30], rtol=1e-6)
