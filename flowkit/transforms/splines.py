"""Splines: rational-quadratic ones, of straight lines, and with a slope that is piecewise linear."""

import math
from typing import Annotated

import numpy as np
from keras import ops

from flowkit.contract import Domain, Tensor
from flowkit.contract.arguments import Between0And1, Positive, whole, words
from flowkit.engines import engine
from flowkit.numerics import cumsum, maximum, minimum, softplus
from flowkit.transforms.affine import soft_clipped
from flowkit.transforms.transform import Transform

LEAST = 1e-3
"""The least slope; and the least width of a bin, as a share of all bins."""

_ONE = math.log(math.expm1(1 - LEAST))  # softplus of it, and LEAST, make 1


def slopes_of(raw):
    """Return slopes above LEAST, of raw numbers of any size: of 0, the slope 1."""
    return LEAST + softplus(raw + _ONE)


def knots_of(raw, low, high):
    """Return the n + 1 knots from `low` to `high` of n raw numbers, which are on the last axis but one.

    No bin is narrower than a thousandth of the whole; raw numbers of 0 make all equal.
    """
    shares = LEAST + (1 - LEAST * raw.shape[-2]) * ops.softmax(raw, axis=-2)
    return knots_from(shares, low, high)


def raw_of_knots(knots):
    """Return raw numbers that `knots_of` turns into these knots of a column, numpy, up to a shift and a scale.

    A bin that is narrower than a thousandth of the whole becomes that wide.
    """
    shares = np.diff(knots) / (knots[-1] - knots[0])
    return np.log(np.maximum(shares - LEAST, LEAST**2))


def raw_of_slopes(slopes):
    """Return raw numbers that `slopes_of` turns into these slopes, numpy; slopes below LEAST become LEAST."""
    above = np.maximum(slopes - LEAST, LEAST**2)
    return above + np.log(-np.expm1(-above)) - _ONE


def knots_from(shares, low, high):
    """Return the n + 1 knots from `low` to `high` of n bins that have these shares of the whole."""
    inner, last = engine.split(cumsum(shares, axis=-2), [shares.shape[-2] - 1, 1], axis=-2)
    whole = ops.concatenate([ops.zeros_like(last), inner, ops.ones_like(last)], axis=-2)
    return (high - low) * whole + low


def distances(knots):
    """Return how far each knot is from the one before it: one fewer than there are knots."""
    return knots[..., 1:, :] - knots[..., :-1, :]


def bin_of(at, knots):
    """Return (start, end) of the bin of each entry: (..., n + 1, channels) with 1 at one knot and 0 at others.

    A knot is in the bin above it; what is below the first knot is in the first bin, and so is NaN.
    """
    size = knots.shape[-2] - 1
    _, inner, _ = engine.split(knots, [1, size - 1, 1], axis=-2)
    reached = engine.reaches(ops.expand_dims(at, -2), inner)
    one = ops.ones_like(reached[..., :1, :])
    none = ops.zeros_like(one)
    bins = ops.concatenate([one, reached], axis=-2) - ops.concatenate([reached, none], axis=-2)
    return ops.concatenate([bins, none], axis=-2), ops.concatenate([none, bins], axis=-2)


def picked(knot, rows):
    """Return the entry at `knot` of each of `rows`, which have one entry for each knot."""
    # Products and sums: they go through memory as it lies, where to gather is to jump.
    return [ops.sum(knot * row, axis=-2) for row in rows]


class Spline(Transform):
    """A spline of `bins` bins on [-bound, bound], straight lines outside.

    `tails` says which lines: "linear" is the identity, so that the slopes at both ends are 1; "affine" are lines of
    learned slopes. `_for_each_bin` is the number of raw numbers for each bin and the knot after it.
    """

    bounded = True
    _for_each_bin: int

    def __init__(
        self,
        bins: Annotated[int, whole(2, 999)] = 8,
        *,
        bound: Positive = 5.0,
        tails: Annotated[str, words("linear", "affine")] = "linear",
    ) -> None:
        self.bins, self.bound, self.tails = bins, bound, tails

    @property
    def parameters(self) -> int:
        return self._for_each_bin * self.bins + (1 if self.tails == "affine" else -1)

    def _at_all_knots(self, slopes):
        """Return the slopes at all knots: 1 at both ends, unless those are learned."""
        if self.tails == "affine":
            return slopes
        end = ops.ones_like(slopes[..., :1, :])
        return ops.concatenate([end, slopes, end], axis=-2)


class RationalQuadratic(Spline):
    """A monotone spline of `bins` rational quadratics on [-bound, bound], straight lines outside.

    In a bin of width w and height h, with slopes d0 and d1 at its ends, s = h / w, xi = (x - x0) / w and v = 1 - xi:

        y = y0 + h (s xi^2 + d0 xi v) / D,   dy/dx = s^2 (d1 xi^2 + 2 s xi v + d0 v^2) / D^2,
        D = s (xi^2 + v^2) + (d0 + d1) xi v.

    Raw numbers are `bins` widths, `bins` heights and the slopes at the knots; if all are 0, it is the identity. No bin
    is narrower than a thousandth of the interval, no slope below 1e-3. `tails` says what is outside: "linear" is the
    identity, so that the slopes at both ends are 1; "affine" are lines of learned slopes, for data with heavy tails, of
    which the knots at both ends are two more raw numbers.

    Every term above is positive, and so are those of the inverse, which takes the root that does not cancel.

    Raises ValueError for fewer than two bins, more than a thousand, a bound that is not positive, or other words.
    Durkan, Bekasov, Murray & Papamakarios, Neural Spline Flows (2019); Gregory & Delbourgo (1982).

    >>> spline = RationalQuadratic(bins=4)
    >>> spline.parameters
    11
    >>> y, log_slope = spline.forward(ops.full((1, 1), 0.3), *spline.prepare(ops.zeros((1, 11, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    _for_each_bin = 3

    def prepare(self, h: Tensor) -> Tensor:
        widths, heights, slopes = engine.split(
            h, [self.bins, self.bins, self.parameters - 2 * self.bins], axis=-2
        )
        x, y = (knots_of(raw, -self.bound, self.bound) for raw in (widths, heights))
        return x, y, self._at_all_knots(slopes_of(slopes))

    def _move(self, given, prepared, inverse):
        # The branch that is not taken must have finite gradients.
        inside = ops.clip(given, -self.bound, self.bound)
        moved, log_slope = (spline_inverse if inverse else spline)(inside, *prepared)
        beyond, log_end = given, ops.zeros_like(log_slope)
        if self.tails == "affine":
            slopes, edge = prepared[-1], ops.stop_gradient(inside)
            end = ops.where(given < 0, slopes[..., 0, :], slopes[..., -1, :])
            end = 1 / end if inverse else end
            beyond, log_end = edge + end * (given - edge), ops.log(end)
        within = ops.abs(given) < self.bound
        return ops.where(within, moved, beyond), ops.where(within, log_slope, log_end)


def spline(at, x, y, slopes):
    """Return (y, log dy/dx) of entries between the first and the last of the knots `x`."""
    start, end = bin_of(at, x)
    (x0, y0, d0), (x1, y1, d1) = picked(start, (x, y, slopes)), picked(end, (x, y, slopes))
    w, h = x1 - x0, y1 - y0
    s = h / w
    xi, v = (at - x0) / w, (x1 - at) / w
    a, b, c = xi * xi, xi * v, v * v
    quotient = s * (a + c) + (d0 + d1) * b
    image = y0 + h * (s * a + d0 * b) / quotient
    slope = d1 * a + 2 * (s * b) + d0 * c
    return image, ops.log(slope) + 2 * ops.log(s / quotient)


def spline_inverse(at, x, y, slopes):
    """Return (x, log dx/dy) of entries between the images of the first and the last knot."""
    start, end = bin_of(at, y)
    (x0, y0, d0), (x1, y1, d1) = picked(start, (x, y, slopes)), picked(end, (x, y, slopes))
    w, h = x1 - x0, y1 - y0
    s = h / w
    t, u = (at - y0) / h, (y1 - at) / h
    # The quadratic's discriminant is a sum of squares, and of `half` and `root` no difference is taken.
    half, twice = d0 * u - d1 * t, 2 * (s * t)
    product = 2 * (twice * (s * u))
    root = ops.sqrt(half * half + product)
    large = root + ops.abs(half)
    rest = ops.where(half >= 0, large, product / large)
    whole = twice + rest
    xi, v = twice / whole, rest / whole
    quotient = s * (xi * xi + v * v) + (d0 + d1) * (xi * v)
    return x0 + w * xi, ops.log(quotient / s) - ops.log(root)


class SoftClippedSpline(RationalQuadratic):
    """`RationalQuadratic` with straight tails of slope 1, of other raw numbers: the spline of zuko.

    Widths and heights are a softmax of r / (1 + 2 |r| / l), slopes exp(r / (1 + |r| / l)) with l = log(1 / least), for
    raw numbers r; if all are 0, it is the identity. So no bin is `least` times as wide as another, no slope below
    `least`. For weights that were trained with it: see `flowkit.convert.from_zuko`. Of Durkan, Bekasov, Murray &
    Papamakarios, Neural Spline Flows (2019), with zuko's bounds.

    Raises ValueError as `RationalQuadratic`, and for a `least` outside (0, 1).

    >>> spline = SoftClippedSpline(bins=4)
    >>> y, log_slope = spline.forward(ops.full((1, 1), 0.3), *spline.prepare(ops.zeros((1, 11, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    def __init__(
        self,
        bins: Annotated[int, whole(2, 999)] = 8,
        *,
        bound: Positive = 5.0,
        least: Between0And1 = 1e-3,
    ) -> None:
        super().__init__(bins, bound=bound)
        self.least = least

    def prepare(self, h: Tensor) -> Tensor:
        most = -math.log(self.least)
        widths, heights, slopes = engine.split(h, [self.bins, self.bins, self.bins - 1], axis=-2)
        x, y = (
            knots_from(ops.softmax(soft_clipped(raw, most / 2), axis=-2), -self.bound, self.bound)
            for raw in (widths, heights)
        )
        return x, y, self._at_all_knots(ops.exp(soft_clipped(slopes, most)))


class CircularRationalQuadratic(Transform):
    """y = s(x) + rotation, wrapped into [-pi, pi), with s a spline of `bins` bins from the circle onto itself.

    In each bin s is as `RationalQuadratic`. The slope at pi is that at -pi, a learned one, so that densities are
    continuous across the seam; the rotation moves the seam's image. Raw numbers are `bins` widths, heights and slopes,
    and the rotation in radians; if all are 0, it is the identity. Angles outside [-pi, pi) are wrapped into it.

    A conditioner that reads angles sees a jump at the seam, unless it begins with their cosines and sines.

    Raises ValueError for fewer than two bins or more than a thousand. Rezende et al., Normalizing Flows on Tori and
    Spheres (2020).

    >>> turned = CircularRationalQuadratic(bins=2)
    >>> h = ops.reshape(ops.convert_to_tensor([0.0] * 6 + [3.0]), (1, 7, 1))  # turned by 3 radians
    >>> y, _ = turned.forward(ops.full((1, 1), 1.0), *turned.prepare(h))
    >>> round(float(y[0, 0]), 4)  # 4 - 2 pi
    -2.2832
    """

    domain = Domain.CIRCLE
    codomain = Domain.CIRCLE

    bounded = True

    def __init__(self, bins: Annotated[int, whole(2, 999)] = 8) -> None:
        self.bins = bins

    @property
    def parameters(self) -> int:
        return 3 * self.bins + 1

    def prepare(self, h: Tensor) -> Tensor:
        widths, heights, slopes, rotation = engine.split(h, [self.bins, self.bins, self.bins, 1], axis=-2)
        x, y = (knots_of(raw, -math.pi, math.pi) for raw in (widths, heights))
        slopes = slopes_of(slopes)
        return ops.squeeze(rotation, -2), x, y, ops.concatenate([slopes, slopes[..., :1, :]], axis=-2)

    def forward(self, x: Tensor, rotation: Tensor, *knots: Tensor) -> tuple[Tensor, Tensor]:
        y, log_slope = spline(wrapped(x), *knots)
        return wrapped(y + rotation), log_slope

    def inverse(self, y: Tensor, rotation: Tensor, *knots: Tensor) -> tuple[Tensor, Tensor]:
        x, log_slope = spline_inverse(wrapped(y - rotation), *knots)
        return wrapped(x), log_slope


def wrapped(angle):
    """Return `angle` plus that multiple of 2 pi which brings it into [-pi, pi), in its own type's number for pi."""
    turn = 2 * math.pi
    # In float32 on PyTorch, so that it may be one off near the seam.
    turns = ops.floor((angle + math.pi) / turn)
    near = angle - turn * ops.cast(turns, angle.dtype)
    near = ops.where(near < -math.pi, near + turn, near)
    return ops.where(near >= math.pi, near - turn, near)


class LinearSpline(Transform):
    """A straight line in each of `bins` bins of the same width, from (0, 1) onto itself, or from [-bound, bound].

    In a bin of width w and height h:  y = y0 + (x - x0) h / w,  dy/dx = h / w.

    Raw numbers are the heights, a softmax of them; if all are 0, it is the identity. No height is below a thousandth
    of the interval. Without a `bound` the domain is the unit interval, as for importance sampling; with one it is the
    real line, and the identity outside.

    The slope jumps from bin to bin, and the density with it. So gradients of log-densities with respect to x see
    nothing of x within a bin, and maximum likelihood of layers below learns nothing from it: for densities take
    `QuadraticSpline` or `RationalQuadratic`.

    Raises ValueError for fewer than two bins, more than a thousand, or a bound that is not positive. Müller,
    McWilliams, Rousselle, Gross & Novák, Neural Importance Sampling (2019).

    >>> spline = LinearSpline(bins=4)
    >>> y, log_slope = spline.forward(ops.full((1, 1), 0.3), *spline.prepare(ops.zeros((1, 4, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    bounded = True

    def __init__(self, bins: Annotated[int, whole(2, 999)] = 16, *, bound: Positive | None = None) -> None:
        self.bins, self.bound = bins, bound
        self.domain = self.codomain = Domain.UNIT_INTERVAL if bound is None else Domain.REAL
        self._ends = (0.0, 1.0) if bound is None else (-bound, bound)

    @property
    def parameters(self) -> int:
        return self.bins

    def prepare(self, h: Tensor) -> Tensor:
        return knots_of(ops.zeros_like(h), *self._ends), knots_of(h, *self._ends)

    def _move(self, given, prepared, inverse):
        starts, ends = reversed(prepared) if inverse else prepared
        low, high = self._ends
        inside = ops.clip(given, low, high)
        start, end = bin_of(inside, starts)
        (x0, y0), (x1, y1) = picked(start, (starts, ends)), picked(end, (starts, ends))
        w, h = x1 - x0, y1 - y0
        moved, log_slope = y0 + (inside - x0) * (h / w), ops.log(h) - ops.log(w)
        within = ops.logical_and(given > low, given < high)
        return ops.where(within, moved, given), ops.where(within, log_slope, ops.zeros_like(log_slope))


class LinearSlopes(Transform):
    """A transform whose slope is linear between knots, and constant outside of them.

    Authors write `prepare`, which returns the knots, their images and the slopes there: (batch, *places, knots,
    channels) each.
    """

    def _move(self, given, prepared, inverse):
        knots, images, slopes = prepared
        starts = images if inverse else knots
        inside, within, tail = _clipped(given, starts, slopes)
        start, end = bin_of(inside, starts)
        (x0, y0, v0), (x1, v1) = picked(start, (knots, images, slopes)), picked(end, (knots, slopes))
        w = x1 - x0
        if inverse:
            t = minimum((inside - y0) / (0.5 * w * (v0 + v1)), 1.0)  # the images are rounded
            slope = ops.sqrt((1 - t) * v0 * v0 + t * v1 * v1)
            x = x0 + w * t * (v0 + v1) / (v0 + slope)
            return x + (given - inside) / tail, -ops.log(ops.where(within, slope, tail))
        xi, rest = (inside - x0) / w, (x1 - inside) / w
        y = y0 + 0.5 * w * xi * (v0 * (1 + rest) + v1 * xi)
        return y + tail * (given - inside), ops.log(ops.where(within, v0 * rest + v1 * xi, tail))


def _clipped(given, ends, slopes):
    """Return entries clipped to the first and the last of `ends`, where they were inside, and the tails' slopes.

    The entries are compared with the ends, not with what clipping leaves: a compiler may fuse the product that makes an
    entry into the difference of the two, which is then never 0. At the ends the gradients are those of the tails.
    """
    low, high = ends[..., 0, :], ends[..., -1, :]
    within = ops.logical_and(given >= low, given <= high)
    tail = ops.where(given <= low, slopes[..., 0, :], slopes[..., -1, :])
    return minimum(maximum(given, low), high), within, tail


def areas_of(widths, slopes):
    """Return the rise in each bin of a function whose slope is linear there."""
    return 0.5 * widths * (slopes[..., :-1, :] + slopes[..., 1:, :])


class QuadraticSpline(Spline, LinearSlopes):
    """A monotone spline from [-bound, bound] onto itself whose slope is linear in each of `bins` bins; lines outside.

    In a bin of width w, with slopes v0 and v1 at its ends and xi = (x - x0) / w:

        y = y0 + w (v0 xi + (v1 - v0) xi^2 / 2),   dy/dx = v0 + (v1 - v0) xi.

    Raw numbers are `bins` widths and the slopes at the knots, scaled so that the image is the whole interval; if all
    are 0, it is the identity. No bin is narrower than a thousandth of the interval, no slope below 1e-3. `tails` is
    "linear", the identity outside, with slopes of 1 at both ends; or "affine", lines of learned slopes.

    In the inverse, with t the share of the bin's area below y, the slope at x is v = sqrt((1 - t) v0^2 + t v1^2), and
    xi = t (v0 + v1) / (v0 + v): nothing cancels.

    Raises ValueError for fewer than two bins, more than a thousand, a bound that is not positive, or other words.
    Müller, McWilliams, Rousselle, Gross & Novák, Neural Importance Sampling (2019).

    >>> spline = QuadraticSpline(bins=4)
    >>> spline.parameters
    7
    >>> y, log_slope = spline.forward(ops.full((1, 1), 0.3), *spline.prepare(ops.zeros((1, 7, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    _for_each_bin = 2

    def prepare(self, h: Tensor) -> Tensor:
        raw, slopes = engine.split(h, [self.bins, self.parameters - self.bins], axis=-2)
        knots = knots_of(raw, -self.bound, self.bound)
        widths = distances(knots)
        shares = ops.exp(ops.log_softmax(slopes, axis=-2))  # of a single one Keras warns otherwise
        # How much of the line each knot's slope stands for.
        reach = 0.5 * (widths[..., :-1, :] + widths[..., 1:, :])
        if self.tails == "affine":
            reach = ops.concatenate([0.5 * widths[..., :1, :], reach, 0.5 * widths[..., -1:, :]], axis=-2)
        total = ops.sum(reach, axis=-2, keepdims=True)
        mean = ops.sum(shares * reach, axis=-2, keepdims=True) / total
        slopes = self._at_all_knots(LEAST + (1 - LEAST) * shares / mean)
        areas = areas_of(widths, slopes)
        end = ops.full_like(areas[..., :1, :], self.bound)
        inner = cumsum(areas[..., :-1, :], axis=-2) - self.bound
        return knots, ops.concatenate([-end, inner, end], axis=-2), slopes
