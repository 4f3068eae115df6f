"""Rational-quadratic splines whose bins and slopes are clipped softly."""

import math
from typing import Annotated, Any

import keras
from keras import ops

from flowkit import backends
from flowkit.contract.arguments import Between0And1, Positive, whole
from flowkit.transforms.knots import knots_from
from flowkit.transforms.rational_quadratic import RationalQuadratic
from flowkit.transforms.scale_shift import soft_clipped


@keras.saving.register_keras_serializable("flowkit")
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

    def prepare(self, h: Any) -> Any:
        most = -math.log(self.least)
        widths, heights, slopes = backends.cut_rows(h, [self.bins, self.bins, self.bins - 1])
        x, y = (
            knots_from(ops.softmax(soft_clipped(raw, most / 2), axis=-2), -self.bound, self.bound)
            for raw in (widths, heights)
        )
        slopes = ops.exp(soft_clipped(slopes, most))
        end = ops.ones_like(slopes[..., :1, :])
        return x, y, ops.concatenate([end, slopes, end], axis=-2)
