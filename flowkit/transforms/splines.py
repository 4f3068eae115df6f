"""Splines of straight lines, and splines whose slope is piecewise linear."""

from typing import Annotated

from keras import ops

from flowkit.contract import Domain, Tensor
from flowkit.contract.arguments import Positive, whole
from flowkit.engines import engine
from flowkit.numerics import cumsum, maximum, minimum
from flowkit.transforms.knots import LEAST, bin_of, distances, knots_of, picked
from flowkit.transforms.rational_quadratic import Spline
from flowkit.transforms.transform import Transform


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
