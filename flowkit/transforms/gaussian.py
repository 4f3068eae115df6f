"""Whitening by a mean and a standard deviation."""

import math
from typing import Any

import keras
from keras import ops

from flowkit.contract.arguments import Fraction
from flowkit.transforms.transform import Transform


@keras.saving.register_keras_serializable("flowkit")
class Gaussian(Transform):
    """y = (x - mean) exp(-logs), log dy/dx = -logs, with raw numbers (mean, logs).

    x ~ N(mean, exp(logs)^2) becomes y ~ N(0, 1). Raw numbers of 0 are the identity. `min_scale` = m > 0 keeps the
    standard deviations exp(logs) within (m, 1/m): logs becomes L tanh(logs / L) with L = -log m. Without it they are
    free, and overflow far from all that was seen.

    Raises ValueError for a `min_scale` outside [0, 1).

    >>> gaussian = Gaussian()
    >>> h = ops.reshape(ops.convert_to_tensor([1.0, 0.0]), (1, 2, 1))  # mean 1, standard deviation exp(0)
    >>> [float(a[0, 0]) for a in gaussian.forward(ops.full((1, 1), 3.0), *gaussian.prepare(h))]
    [2.0, -0.0]
    """

    parameters = 2

    def __init__(self, *, min_scale: Fraction = 0.0) -> None:
        self.min_scale = min_scale

    def prepare(self, h: Any) -> Any:
        mean, logs = h[..., 0, :], h[..., 1, :]
        if self.min_scale:
            bound = -math.log(self.min_scale)
            logs = bound * (2 * ops.sigmoid(2 * logs / bound) - 1)  # a tanh, in float64 on JAX too
        return mean, logs

    def forward(self, x: Any, mean: Any, logs: Any) -> tuple[Any, Any]:
        return (x - mean) * ops.exp(-logs), -logs

    def inverse(self, y: Any, mean: Any, logs: Any) -> tuple[Any, Any]:
        return y * ops.exp(logs) + mean, logs
