"""Splines: their knots, their tails, the seam of a circle, and what float32 leaves of them."""

import math

import numpy as np
import pytest
from arrays import array, f64, precision, tensor
from keras import ops

from flowkit.bijectors import Chain, Inverse, Pointwise, Scale, Shift
from flowkit.contract import Domain
from flowkit.contract.call import Call
from flowkit.engines import engine
from flowkit.transforms import (
    CircularRationalQuadratic,
    LinearSpline,
    QuadraticSpline,
    RationalQuadratic,
    UnconstrainedMonotone,
)

pytestmark = pytest.mark.one_engine

AFFINE_TAILS = [
    RationalQuadratic(4, tails="affine"),
    QuadraticSpline(4, tails="affine"),
    UnconstrainedMonotone(4, nodes=9),
]
LINEAR_TAILS = [RationalQuadratic(4), QuadraticSpline(4), LinearSpline(4, bound=5.0)]
CONTINUOUS = [*AFFINE_TAILS, *LINEAR_TAILS[:2]]


def raw(transform, scale=1.0, rows=1, seed=0):
    """Raw numbers that float32 holds: one row for all x, or one for each."""
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(rows, transform.parameters, 1)).astype("float32").astype("float64")


def run(transform, x, h, dtype="float64", inverse=False):
    with precision(dtype):
        prepared = transform.prepare(tensor(h, dtype))
        return [f64(a) for a in transform.run(tensor(np.reshape(x, (-1, 1)), dtype), prepared, inverse)]


def knots_and_images(transform, h):
    with precision("float64"):
        prepared = transform.prepare(tensor(h, "float64"))
        x, y = prepared[1:3] if isinstance(transform, CircularRationalQuadratic) else prepared[:2]
        return array(x)[0, :, 0], array(y)[0, :, 0]


@pytest.mark.wide("transform")
@pytest.mark.parametrize("transform", [*CONTINUOUS, LINEAR_TAILS[2]], ids=repr)
@pytest.mark.parametrize("inverse", [False, True])
def test_it_is_continuous_at_its_knots(transform, inverse):
    h = raw(transform, 2.0)
    x, y = knots_and_images(transform, h)
    at = y if inverse else x
    below, slope_below = run(transform, at - 1e-9, h, inverse=inverse)
    above, slope_above = run(transform, at + 1e-9, h, inverse=inverse)
    steep = np.exp(np.maximum(slope_below, slope_above))
    assert np.all(np.abs(above - below) <= 2.1e-9 * steep + 1e-13)
    if not isinstance(transform, LinearSpline):  # whose slope jumps, as its docstring says
        np.testing.assert_allclose(slope_below, slope_above, atol=1e-4)


@pytest.mark.wide("dtype")
@pytest.mark.parametrize("transform", AFFINE_TAILS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_affine_tails_are_lines_of_the_slopes_at_the_ends(transform, dtype):
    h = raw(transform, 2.0)
    eps = np.finfo(dtype).eps
    for side in (-1, 1):
        x = side * np.array([6.0, 1e4])
        y, log_slope = run(transform, x, h, dtype)
        _, at_the_end = run(transform, side * (5 - 1e-9), h)
        assert abs(at_the_end[0, 0]) > 0.05
        np.testing.assert_allclose(log_slope, at_the_end[0, 0], atol=max(1e-7, 32 * eps))
        np.testing.assert_allclose((y[1] - y[0]) / (x[1] - x[0]), np.exp(log_slope[0]), rtol=64 * eps)
        back, log_back = run(transform, y, h, dtype, inverse=True)
        np.testing.assert_allclose(back[:, 0], x, rtol=64 * eps)
        np.testing.assert_allclose(log_back, -log_slope, atol=64 * eps)


@pytest.mark.wide
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("transform", CONTINUOUS, ids=repr)
def test_gradients_at_the_ends_are_the_slopes_there(transform, inverse):
    """Data are clipped to bounds: where a spline ends, they may lie in heaps."""
    h = raw(transform, 2.0)
    ends = np.array([side[[0, -1]] for side in knots_and_images(transform, h)])[int(inverse)]
    with precision("float64"):
        prepared = transform.prepare(tensor(h, "float64"))

        def moved(tensors):
            return ops.sum(transform.run(tensors[0], prepared, inverse)[0])

        _, (slopes,) = engine.gradients(moved, [tensor(ends[:, None], "float64")])
        slopes = f64(slopes)
    np.testing.assert_allclose(np.log(slopes), run(transform, ends, h, inverse=inverse)[1], atol=1e-9)


@pytest.mark.wide
@pytest.mark.parametrize("transform", LINEAR_TAILS, ids=repr)
def test_linear_tails_are_the_identity(transform):
    h, x = raw(transform, 6.0), np.array([-1e4, -5.5, 5.5, 1e4])
    for inverse in (False, True):
        moved, log_slope = run(transform, x, h, "float32", inverse=inverse)
        np.testing.assert_allclose(moved[:, 0], x, rtol=2e-7)
        np.testing.assert_allclose(log_slope, 0, atol=1e-6)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("transform", [*CONTINUOUS, LINEAR_TAILS[2]], ids=repr)
def test_what_is_not_finite_goes_on_and_stays_with_its_row(transform, inverse):
    """A bin is picked by products with 0 and 1, and 0 times infinity would be NaN."""
    h = raw(transform, 2.0)
    moved, log_slope = run(transform, [np.nan, np.inf, -np.inf, 0.5], h, inverse=inverse)
    assert np.isnan(moved[0, 0])
    assert list(moved[1:3, 0]) == [np.inf, -np.inf]
    alone = run(transform, [0.5], h, inverse=inverse)
    # TensorFlow adds a row of its own up in another order.
    np.testing.assert_allclose([moved[3, 0], log_slope[3, 0]], [alone[0][0, 0], alone[1][0, 0]], rtol=1e-14)


@pytest.mark.optimized  # it is the optimizer that rounds less
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("transform", [*CONTINUOUS, LINEAR_TAILS[2]], ids=repr)
def test_a_compiler_that_rounds_less_changes_no_slope(transform, inverse):
    """What comes before may be added to without being rounded: then x and x clipped differ by its rounding."""
    spline = Pointwise(transform)
    chain = Chain([Shift(0.1), Scale(0.3), Inverse(spline) if inverse else spline])
    chain.build((None, 3))
    spline.raw.assign(raw(transform)[0].repeat(3, axis=1))
    x = np.linspace(-6, 6, 96).reshape(-1, 3).astype("float32")

    def log_slopes(x):
        return chain.run(x, Call())[1]

    compiled = engine.inference_function(log_slopes, chain)(engine.as_input(x))
    # A rounding of x, times slopes of up to e^3 and their own slopes, is some 1e-5; the slope of a tail is tenths off.
    np.testing.assert_allclose(f64(compiled), f64(log_slopes(tensor(x, "float32"))), atol=1e-3)


@pytest.mark.parametrize("transform", [QuadraticSpline(8), QuadraticSpline(8, tails="affine")], ids=repr)
def test_a_quadratic_spline_maps_its_interval_onto_itself_and_is_never_flat(transform):
    h = raw(transform, 20.0, rows=50)
    for end in (-5.0, 5.0):
        np.testing.assert_allclose(run(transform, np.full(50, end), h)[0], end, rtol=1e-12)
    for x in np.linspace(-5, 5, 101):
        assert np.all(run(transform, np.full(50, x), h)[1] >= math.log(1e-3) - 1e-9)


def test_a_quadratic_spline_is_the_integral_of_its_slope():
    h = raw(QuadraticSpline(5), 1.0)
    knots, _ = knots_and_images(QuadraticSpline(5), h)
    # Simpson's rule on each bin is exact for a slope that is linear there.
    ends = np.stack([knots[:-1] + 1e-12, (knots[:-1] + knots[1:]) / 2, knots[1:] - 1e-12])
    slopes = np.exp(run(QuadraticSpline(5), ends, h)[1]).reshape(ends.shape)
    rise = np.diff(knots) * (slopes[0] + 4 * slopes[1] + slopes[2]) / 6
    y, _ = run(QuadraticSpline(5), knots, h)
    np.testing.assert_allclose(np.diff(y[:, 0]), rise, rtol=1e-9)


@pytest.mark.parametrize(
    "transform", [RationalQuadratic(), QuadraticSpline(), LinearSpline(bound=5.0)], ids=repr
)
def test_float32_keeps_its_digits_at_bins_that_are_far_from_even(transform):
    h = raw(transform, 6.0, rows=4000)
    x = np.random.default_rng(1).uniform(-4.9, 4.9, 4000).astype("float32").astype("float64")
    y, _ = run(transform, x, h, "float32")
    truth, _ = run(transform, x, h)
    np.testing.assert_allclose(y, truth, atol=2e-4)
    back, log_slope = run(transform, y, h, "float32", inverse=True)
    assert np.isfinite(log_slope).all()
    # x itself is lost in a bin that is flat; its image is not.
    np.testing.assert_allclose(run(transform, back, h, "float32")[0], y, atol=2e-4)


class TestOnTheCircle:
    spline = CircularRationalQuadratic(6)

    @pytest.mark.one_engine
    def test_density_is_continuous_across_the_seam_and_learned_there(self):
        h = raw(self.spline, 1.5)
        for inverse in (False, True):
            _, log_slope = run(self.spline, [-np.pi, np.pi - 1e-9], h, inverse=inverse)
            assert abs(log_slope[0, 0]) > 0.05
            np.testing.assert_allclose(log_slope[0], log_slope[1], atol=1e-6)
        y, _ = run(self.spline, [-np.pi, np.pi - 1e-9], h)
        gap = (y[0, 0] - y[1, 0]) % (2 * np.pi)
        assert 0 < gap < 1e-7

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_angles_stay_in_the_circle_exactly(self, dtype):
        ends = np.array([-np.pi, np.pi], dtype)
        near = [np.nextafter(ends[0], ends[1]), np.nextafter(ends[1], ends[0]), 0, 1, -1]
        x = np.tile(np.concatenate([ends, np.array(near, dtype)]), 200)
        with precision(dtype):
            prepared = self.spline.prepare(tensor(raw(self.spline, 3.0, rows=len(x)), dtype))
            for inverse in (False, True):
                moved, log_slope = self.spline.run(tensor(x[:, None], dtype), prepared, inverse)
                assert Domain.CIRCLE.contains(moved)
                assert np.isfinite(array(log_slope)).all()

    def test_whole_turns_are_forgotten(self):
        h, x = raw(self.spline, 1.0), np.linspace(-3, 3, 7)
        turned = run(self.spline, x + 6 * np.pi, h)
        for a, b in zip(turned, run(self.spline, x, h), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)


def test_a_monotone_network_is_the_integral_of_its_slope():
    transform = UnconstrainedMonotone(3, nodes=9)
    h = raw(transform, 1.0)
    knots, _ = knots_and_images(transform, h)
    log_slope = run(transform, knots[1:-1], h)[1][:, 0]
    c, a, b, d = h[0, :3, 0], 1 + h[0, 3:6, 0], h[0, 6:9, 0] + np.array([-5.0, 0, 5]), h[0, 9, 0]
    s = d + np.tanh(np.outer(knots[1:-1], a) + b) @ c / math.sqrt(3)
    bound = math.log(1000)
    np.testing.assert_allclose(log_slope, bound * np.tanh(s / bound), atol=1e-9)
    y, _ = run(transform, knots, h)
    slopes = np.exp(run(transform, knots, h)[1][:, 0])
    np.testing.assert_allclose(np.diff(y[:, 0]), (slopes[1:] + slopes[:-1]) / 2 * np.diff(knots), rtol=1e-9)
    np.testing.assert_allclose((y[0] + y[-1]) / 2, h[0, -1], atol=1e-9)


@pytest.mark.one_engine
def test_files_from_before_tails_were_an_option_keep_their_map():
    assert RationalQuadratic.from_config({"bins": 4, "bound": 5.0}) == RationalQuadratic(4, tails="linear")
