"""Scales and shifts in this order, with scales that stay above a number."""

import math
from typing import Annotated, Any

import keras
from keras import ops

from flowkit.contract.arguments import Between0And1, words
from flowkit.numerics import softplus
from flowkit.transforms.transform import Transform


@keras.saving.register_keras_serializable("flowkit")
class ScaleShift(Transform):
    """y = x * scale + shift, log dy/dx = log scale, with raw numbers (shift, s).

    `scale` is "softclip", exp(s / (1 + |s| / log(1 / least))), between `least` and 1 / `least`: raw numbers of 0 are
    the identity; or "softplus", log(1 + exp(s)) + `least`, or "sigmoid", sigmoid(s + 2) + `least`, of which no raw
    number is the identity at 0. These are the maps of masked autoregressive flows in zuko and nflows, and of couplings
    in nflows; `Affine` is what flowkit takes by itself.

    Raises ValueError for other words, and for a `least` outside (0, 1). Papamakarios, Pavlakou & Murray, Masked
    Autoregressive Flow (2017).

    >>> affine = ScaleShift("softclip")
    >>> y, log_scale = affine.forward(ops.ones((1, 2)), *affine.prepare(ops.zeros((1, 2, 2))))
    >>> ops.convert_to_numpy(y).tolist()
    [[1.0, 1.0]]
    """

    parameters = 2

    def __init__(
        self,
        scale: Annotated[str, words("softclip", "softplus", "sigmoid")] = "softclip",
        *,
        least: Between0And1 = 1e-3,
    ) -> None:
        self.scale, self.least = scale, least

    def prepare(self, h: Any) -> Any:
        shift, s = h[..., 0, :], h[..., 1, :]
        if self.scale == "softclip":
            log_scale = soft_clipped(s, -math.log(self.least))
            return shift, log_scale, ops.exp(log_scale)
        scale = (softplus(s) if self.scale == "softplus" else ops.sigmoid(s + 2)) + self.least
        return shift, ops.log(scale), scale

    def forward(self, x: Any, shift: Any, log_scale: Any, scale: Any) -> tuple[Any, Any]:
        return x * scale + shift, log_scale

    def inverse(self, y: Any, shift: Any, log_scale: Any, scale: Any) -> tuple[Any, Any]:
        return (y - shift) / scale, -log_scale


def soft_clipped(x, bound):
    """x / (1 + |x| / bound): between -bound and bound, of slope 1 at 0."""
    return x / (1 + ops.abs(x) / bound)
