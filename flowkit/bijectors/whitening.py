"""The Gaussian prior of latents that leave early, undone: they too are standard normal then."""

import math
from dataclasses import dataclass

from keras import ops

from flowkit.bijectors.parameters import shift_and_scale
from flowkit.contract import sum_event


@dataclass(frozen=True)
class Whitening:
    """eps = (z - mean) exp(-logs) and its log-det, with (mean, logs) = prior(given); or, `inverse`, the way back.

    `min_scale` = m > 0 keeps the standard deviations exp(logs) within (m, 1/m): logs becomes L tanh(logs / L)
    with L = -log m. Published priors are free, and overflow where `given` is unlike all that was seen.
    """

    layout: str
    min_scale: float = 0.0

    def __post_init__(self):
        if not 0 <= self.min_scale < 1:
            raise ValueError(f"expected min_scale in [0, 1), received {self.min_scale!r}.")

    def __call__(self, z, prior, given, context, *, inverse):
        if prior is None:
            return z, 0.0
        reads_context = getattr(prior, "context", "none") != "none"
        h = prior(given, context=context) if reads_context else prior(given)
        mean, logs = shift_and_scale(ops.cast(h, z.dtype), self.layout)
        if self.min_scale:
            bound = -math.log(self.min_scale)
            logs = bound * (2 * ops.sigmoid(2 * logs / bound) - 1)  # `ops.tanh` falls to float32 on JAX
        # The top prior answers once for the whole batch where nothing tells samples apart.
        logs_sum = sum_event(logs)
        if logs.shape[0] == 1:
            logs_sum = logs_sum[0]
        if inverse:
            return z * ops.exp(logs) + mean, logs_sum
        return (z - mean) * ops.exp(-logs), -logs_sum
