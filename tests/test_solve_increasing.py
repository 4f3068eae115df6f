"""numerics.solve_increasing: as exact as the function, exact gradients, any bracket, compiled or not."""

import math

import keras
import numpy as np
import pytest
from arrays import array, precision, tensor
from keras import ops

from flowkit import numerics
from flowkit.engines import engine

NOISE = np.random.default_rng(0).normal(size=64)
TINY = NOISE * 10.0 ** -np.sqrt(np.arange(64))
UNIT = 1 / (1 + np.exp(4 * NOISE))


def cube(x, a):
    return a * x**3 + 1e-3 * x, ops.log(3 * a * x**2 + 1e-3)


def flat_cube(x, a):
    return a * x**3, ops.log(3 * a * x**2)  # no slope at 0


def bumps(x, a):
    total, slope = x, 1.0
    for place in (-2.0, 0.5, 1.0):
        t = numerics.tanh(x - place)
        total, slope = total + a * t, slope + a * (1 - t * t)
    return total, ops.log(slope)


def steep(x, a):
    z = 1e4 * a * (x - 0.3)
    log_slope = numerics.log_sigmoid(z) + numerics.log_sigmoid(-z) + ops.log(1e4 * a)
    return ops.sigmoid(z) + 1e-3 * x, numerics.logaddexp(log_slope, math.log(1e-3))


def logit(x, a):
    return a * (ops.log(x) - ops.log1p(-x)), ops.log(a) - ops.log(x) - ops.log1p(-x)


def kinked(x, a):
    low = x < 0.3
    value = ops.where(low, 1e-3 * x, 1e3 * a * (x - 0.3) + 3e-4)
    return value, ops.log(ops.where(low, 1e-3 + 0 * x, 1e3 * a + 0 * x))


# name -> (function, low, high, solutions, over what length its slope changes)
CASES = {
    "cube": (cube, -20.0, 20.0, NOISE, np.abs(NOISE)),
    "flat cube": (flat_cube, -20.0, 20.0, TINY, np.abs(TINY)),
    "bumps": (bumps, -1e6, 1e6, 2 * NOISE, 1.0),
    "steep sigmoid": (steep, -100.0, 100.0, 0.3 + 1e-3 * NOISE, 1e-4),
    "logit": (logit, 0.0, 1.0, UNIT, np.minimum(UNIT, 1 - UNIT)),
    "kinked": (kinked, -1e30, 1e30, 0.3 + NOISE, np.abs(NOISE)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_no_number_is_nearer(case, dtype):
    """x is a number of its type with f(x) <= y, and the next one has f(x) > y: f allows no better answer."""
    function, low, high, solutions, _ = CASES[case]
    with precision(dtype):
        a = tensor(1.5, dtype)
        y, _ = function(tensor(solutions, dtype), a)
        x = array(numerics.solve_increasing(lambda x: function(x, a), y, low, high))
        after = np.nextafter(x, np.inf, dtype=dtype)
        at, beyond = (array(function(tensor(t, dtype), a)[0]) for t in (x, after))
    assert x.dtype == dtype
    assert (at <= array(y)).all()
    assert (beyond > array(y)).all()
    assert (low < x).all()
    assert (x < high).all()


@pytest.mark.parametrize("case", CASES)
def test_gradients_reach_y_and_what_f_closes_over(case):
    function, low, high, solutions, length = CASES[case]
    with engine.float64():
        x, a = tensor(solutions, "float64"), np.full(solutions.shape, 1.5)
        y, log_slope = map(array, function(x, tensor(a, "float64")))

        def solve(y, a):
            return numerics.solve_increasing(lambda x: function(x, a), y, low, high)

        _, gradients = engine.gradients(
            lambda tensors: ops.sum(solve(*tensors)), [tensor(y, "float64"), tensor(a, "float64")]
        )
        noise = 8 * np.finfo("float64").eps * (np.abs(y) / np.exp(log_slope) + np.abs(solutions))
        for gradient, moves in zip(map(array, gradients), np.eye(2), strict=True):
            step = 1e-4 * np.minimum(length / np.maximum(np.abs(gradient), 1e-300), 1)
            above, below = (
                array(solve(tensor(y + moves[0] * s, "float64"), tensor(a + moves[1] * s, "float64")))
                for s in (step, -step)
            )
            error = np.abs((above - below) / (2 * step) - gradient)
            assert np.max(error - noise / step - 1e-6 * np.abs(gradient)) <= 0


@pytest.mark.long
def test_compiled_it_gives_the_same():
    y, a = tensor(NOISE, "float32"), tensor(1.5, "float32")

    def solve(y, a):
        return numerics.solve_increasing(lambda x: cube(x, a), y, -20.0, 20.0)

    eager = array(solve(y, a))
    compiled = array(engine.compile_fully(solve, keras.layers.Identity())(y, a))
    np.testing.assert_array_max_ulp(compiled, eager, maxulp=4)

    def loss(tensors):
        return ops.sum(solve(*tensors))

    _, gradients = engine.compile_gradients(loss)([y, a])
    _, expected = engine.gradients(loss, [y, a])
    for one, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(array(one), array(other), rtol=1e-4)


def test_brackets_and_parameters_broadcast_to_the_shape_of_y():
    y = tensor(np.random.default_rng(1).normal(size=(5, 3)), "float32")
    a = tensor([0.5, 1.0, 2.0], "float32")
    wide = numerics.solve_increasing(lambda x: cube(x, a), y, -1e30, 1e30)
    tight = numerics.solve_increasing(lambda x: cube(x, a), y, tensor([-9.0, -8.0, -7.0], "float32"), 9.0)
    assert tuple(wide.shape) == (5, 3)
    np.testing.assert_array_equal(array(wide), array(tight))


def test_out_of_reach_the_answer_is_the_end_and_nan_stays_nan():
    y = tensor([-1e9, 1e9, math.nan], "float32")
    x = array(numerics.solve_increasing(lambda x: cube(x, 1.0), y, -2.0, 1.0))
    np.testing.assert_array_max_ulp(x[:2], np.array([-2, 1], "float32"), maxulp=1)
    assert np.isnan(x[2])


def test_without_a_slope_values_and_gradients_are_finite():
    def level(x):  # 0 up to 1
        return ops.relu(x - 1), ops.log(ops.cast(x > 1, x.dtype))

    value, (gradient,) = engine.gradients(
        lambda tensors: ops.sum(numerics.solve_increasing(level, tensors[0], -5.0, 5.0)),
        [tensor([0.0], "float32")],
    )
    assert float(value) == 1.0
    assert np.isfinite(array(gradient)).all()
