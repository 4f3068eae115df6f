"""Rational-quadratic splines."""

import math
from typing import Any

import keras
from keras import ops

from flowkit.contract.arguments import whole_number
from flowkit.numerics import cumsum, softplus
from flowkit.transforms.transform import Transform

_LEAST = 1e-3  # of a bin, as a share of all, and of a slope


@keras.saving.register_keras_serializable("flowkit")
class RationalQuadratic(Transform):
    """A monotone spline of `bins` rational quadratics on [-bound, bound], the identity outside.

    In a bin of width w and height h, with slopes d0 and d1 at its ends, s = h / w, xi = (x - x0) / w and v = 1 - xi:

        y = y0 + h (s xi^2 + d0 xi v) / D,   dy/dx = s^2 (d1 xi^2 + 2 s xi v + d0 v^2) / D^2,
        D = s (xi^2 + v^2) + (d0 + d1) xi v.

    Raw numbers are `bins` widths, `bins` heights and the `bins` - 1 slopes between them; if all are 0, it is the
    identity. No bin is narrower than a thousandth of the interval, no slope below 1e-3; the slopes at both ends are 1.

    Every term above is positive, and so are those of the inverse, which takes the root that does not cancel.

    Raises ValueError for fewer than two bins, more than a thousand, or a bound that is not positive. Durkan, Bekasov,
    Murray & Papamakarios, Neural Spline Flows (2019); Gregory & Delbourgo (1982).

    >>> spline = RationalQuadratic(bins=4)
    >>> spline.parameters
    11
    >>> y, log_slope = spline.forward(ops.full((1, 1), 0.3), *spline.prepare(ops.zeros((1, 11, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    def __init__(self, bins: int = 8, *, bound: float = 5.0) -> None:
        self.bins = whole_number(bins, "RationalQuadratic's bins", least=2, most=999)
        if not 0 < bound < math.inf:
            raise ValueError(f"RationalQuadratic expects a positive bound, received {bound!r}.")
        self.bound = float(bound)

    @property
    def parameters(self) -> int:
        return 3 * self.bins - 1

    def prepare(self, h: Any) -> Any:
        x, widths = self._knots(h[..., : self.bins, :])
        y, heights = self._knots(h[..., self.bins : 2 * self.bins, :])
        inner = _LEAST + softplus(h[..., 2 * self.bins :, :] + math.log(math.expm1(1 - _LEAST)))
        end = ops.ones_like(inner[..., :1, :])
        return x, widths, y, heights, ops.concatenate([end, inner, end], axis=-2)

    def _knots(self, raw):
        """The `bins` + 1 knots from -bound to bound, and the distances between them."""
        shares = _LEAST + (1 - _LEAST * self.bins) * ops.softmax(raw, axis=-2)
        inner = 2 * self.bound * cumsum(shares[..., :-1, :], axis=-2) - self.bound
        end = ops.full_like(raw[..., :1, :], self.bound)
        knots = ops.concatenate([-end, inner, end], axis=-2)
        return knots, knots[..., 1:, :] - knots[..., :-1, :]

    def forward(self, x: Any, *prepared: Any) -> tuple[Any, Any]:
        inside = ops.clip(
            x, -self.bound, self.bound
        )  # the branch that is not taken must have finite gradients
        x0, w, y0, h, d0, d1 = _bin(inside, prepared[0], prepared)
        s = h / w
        xi = (inside - x0) / w
        v = (x0 + w - inside) / w
        quotient = s * (xi * xi + v * v) + (d0 + d1) * xi * v
        y = y0 + h * (s * xi * xi + d0 * xi * v) / quotient
        slope = d1 * xi * xi + 2 * s * xi * v + d0 * v * v
        return self._within(x, y, 2 * ops.log(s) + ops.log(slope) - 2 * ops.log(quotient))

    def inverse(self, y: Any, *prepared: Any) -> tuple[Any, Any]:
        inside = ops.clip(y, -self.bound, self.bound)
        x0, w, y0, h, d0, d1 = _bin(inside, prepared[2], prepared)
        s = h / w
        t, u = (inside - y0) / h, (y0 + h - inside) / h
        # The quadratic's discriminant is a sum of squares, and of `half` and `root` no difference is taken.
        half, product = d0 * u - d1 * t, 4 * s * s * t * u
        root = ops.sqrt(half * half + product)
        large = root + ops.abs(half)
        rest = ops.where(half >= 0, large, product / large)
        xi = 2 * s * t / (2 * s * t + rest)
        v = rest / (2 * s * t + rest)
        quotient = s * (xi * xi + v * v) + (d0 + d1) * xi * v
        return self._within(y, x0 + w * xi, ops.log(quotient) - ops.log(s) - ops.log(root))

    def _within(self, given, moved, log_slope):
        inside = ops.abs(given) < self.bound
        return ops.where(inside, moved, given), ops.where(inside, log_slope, ops.zeros_like(log_slope))


def _bin(at, knots, prepared):
    """(x0, w, y0, h, d0, d1) of the bin that each entry of `at` falls into, between the `knots`."""
    x, widths, y, heights, slopes = prepared
    above = ops.cast(ops.expand_dims(at, -2) >= knots[..., 1:-1, :], "int32")
    index = ops.sum(above, axis=-2, keepdims=True)

    def of(values):
        return ops.squeeze(ops.take_along_axis(values, index, axis=-2), axis=-2)

    rows = (x[..., :-1, :], widths, y[..., :-1, :], heights, slopes[..., :-1, :], slopes[..., 1:, :])
    return [of(values) for values in rows]
