"""Splines of straight lines."""

from typing import Annotated

from keras import ops

from flowkit.contract import Domain, Tensor
from flowkit.contract.arguments import Positive, whole
from flowkit.transforms.knots import bin_of, knots_of, picked
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

    def forward(self, x: Tensor, knots: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._move(x, knots, images)

    def inverse(self, y: Tensor, knots: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._move(y, images, knots)

    def _move(self, given, starts, ends):
        """Map bins that begin at `starts` to those that begin at `ends`."""
        low, high = self._ends
        inside = ops.clip(given, low, high)
        start, end = bin_of(inside, starts)
        (x0, y0), (x1, y1) = picked(start, (starts, ends)), picked(end, (starts, ends))
        w, h = x1 - x0, y1 - y0
        moved, log_slope = y0 + (inside - x0) * (h / w), ops.log(h) - ops.log(w)
        within = ops.logical_and(given > low, given < high)
        return ops.where(within, moved, given), ops.where(within, log_slope, ops.zeros_like(log_slope))
