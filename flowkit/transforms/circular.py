"""Splines of angles."""

import math
from typing import Annotated, Any

import keras
from keras import ops

from flowkit import backends
from flowkit.contract import Domain
from flowkit.contract.arguments import whole
from flowkit.transforms.knots import knots_of
from flowkit.transforms.rational_quadratic import spline, spline_inverse
from flowkit.transforms.slopes import slopes_of
from flowkit.transforms.transform import Transform


@keras.saving.register_keras_serializable("flowkit")
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

    def __init__(self, bins: Annotated[int, whole(2, 999)] = 8) -> None:
        self.bins = bins

    @property
    def parameters(self) -> int:
        return 3 * self.bins + 1

    def prepare(self, h: Any) -> Any:
        widths, heights, slopes, rotation = backends.cut_rows(h, [self.bins, self.bins, self.bins, 1])
        x, y = (knots_of(raw, -math.pi, math.pi) for raw in (widths, heights))
        slopes = slopes_of(slopes)
        return ops.squeeze(rotation, -2), x, y, ops.concatenate([slopes, slopes[..., :1, :]], axis=-2)

    def forward(self, x: Any, rotation: Any, *knots: Any) -> tuple[Any, Any]:
        y, log_slope = spline(wrapped(x), *knots)
        return wrapped(y + rotation), log_slope

    def inverse(self, y: Any, rotation: Any, *knots: Any) -> tuple[Any, Any]:
        x, log_slope = spline_inverse(wrapped(y - rotation), *knots)
        return wrapped(x), log_slope


def wrapped(angle):
    """`angle` plus that multiple of 2 pi which brings it into [-pi, pi), in its own type's number for pi."""
    turn = 2 * math.pi
    # In float32 on PyTorch, so that it may be one off near the seam.
    turns = ops.floor((angle + math.pi) / turn)
    near = angle - turn * ops.cast(turns, angle.dtype)
    near = ops.where(near < -math.pi, near + turn, near)
    return ops.where(near >= math.pi, near - turn, near)
