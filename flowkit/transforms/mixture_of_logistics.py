"""Mixtures of logistic distributions, as in Flow++."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.contract.arguments import Count
from flowkit.numerics import tanh
from flowkit.transforms.sigmoid_mixture import Spread, even_steps, least_and_largest, logit_of_mixture
from flowkit.transforms.solved import Solved

_LARGEST = 7.0  # of a log-scale
STEEPNESS = 1.702  # sigmoid(1.702 x) is within 0.01 of the normal distribution


@keras.saving.register_keras_serializable("flowkit")
class MixtureOfLogistics(Solved):
    """y = logit(F(x)) exp(s) + t, F(x) = sum_k pi_k sigmoid((x - m_k) exp(-l_k)) a mixture of logistic distributions.

    Raw numbers are `components` each of weights (pi is their softmax), means m_k and log-scales (l_k = 7 tanh(l / 7)),
    then s (of which the tanh is taken) and t. To the means are added even steps from -spread to spread, since
    components that begin alike remain alike. If all raw numbers are 0, then y = logit(mean_k sigmoid(x - m_k)): the
    identity if `spread` is 0 or there is one component, and otherwise near to it.

    The distribution and its complement are kept as logarithms, never as a probability whose logit is taken, so that
    both tails are straight lines to the last digit. The inverse is solved, between the least and the largest of
    m_k + exp(l_k) (y - t) exp(-s), which always have it between them; its gradients are exact, for first derivatives.

    Raises ValueError for fewer than one component, or a spread that is no finite number from 0 up. Ho, Chen, Srinivas,
    Duan & Abbeel, Flow++ (2019).

    >>> mixture = MixtureOfLogistics(components=4, spread=0.0)
    >>> mixture.parameters
    14
    >>> y, log_slope = mixture.forward(ops.full((1, 1), 0.3), *mixture.prepare(ops.zeros((1, 14, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    def __init__(self, components: Count = 32, *, spread: Spread = 1.0) -> None:
        self.components, self.spread = components, spread

    @property
    def parameters(self) -> int:
        return 3 * self.components + 2

    def prepare(self, h: Any) -> Any:
        n = self.components
        means = h[..., n : 2 * n, :] + backends.constant(even_steps, n, self.spread, like=h)
        log_scales = _LARGEST * tanh(h[..., 2 * n : 3 * n, :] / _LARGEST)
        return ops.log_softmax(h[..., :n, :], axis=-2), means, log_scales, tanh(h[..., -2, :]), h[..., -1, :]

    def forward(
        self, x: Any, log_weights: Any, means: Any, log_scales: Any, log_scale: Any, shift: Any
    ) -> tuple[Any, Any]:
        reach = (ops.expand_dims(x, -2) - means) * ops.exp(-log_scales)
        logit, log_slope = logit_of_mixture(reach, log_weights, -log_scales)
        return logit * ops.exp(log_scale) + shift, log_slope + log_scale

    def bracket(
        self, y: Any, log_weights: Any, means: Any, log_scales: Any, log_scale: Any, shift: Any
    ) -> tuple[Any, Any]:
        logit = ops.expand_dims((y - shift) * ops.exp(-log_scale), -2)
        return least_and_largest(means + ops.exp(log_scales) * logit)

    def fitted(self, x: Any) -> Any:
        means, widths = components_of(x, self.components)
        n, channels = self.components, x.shape[1]
        log_scales = np.clip(np.log(widths) / _LARGEST, -0.99, 0.99)
        return np.concatenate(
            [
                np.zeros((n, channels)),
                means - even_steps(n, self.spread),
                _LARGEST * np.arctanh(log_scales),
                np.full((1, channels), np.arctanh(-math.log(STEEPNESS))),
                np.zeros((1, channels)),
            ]
        )


def components_of(x, count):
    """Means and scales, (count, channels), of logistic distributions F with logit(F(x)) / STEEPNESS near to normal.

    Component k stands at the quantile of x which a normal has where logit(u) / STEEPNESS = its own, u = (k + 1/2) /
    count: even in the middle of x, and further apart in its tails. It is as wide as the gaps beside it, and no
    narrower than so few rows can tell. Those at both ends are wide enough for tails as steep as the step before them
    is: any steeper, and each layer would carry outliers further out.
    """
    deviation = x.std(0, keepdims=True) + 1e-6
    if count == 1:
        return x.mean(0, keepdims=True), deviation / STEEPNESS
    u = (np.arange(count) + 0.5) / count
    normal = np.log(u / (1 - u)) / STEEPNESS
    share = [0.5 * math.erfc(-at / math.sqrt(2)) for at in normal]
    means = np.quantile(x, share, axis=0, method="hazen")
    widths = 0.6 * np.gradient(means, axis=0)
    for end, beside in ((0, 1), (-1, -2)):
        steepness = STEEPNESS * (normal[end] - normal[beside])
        widths[end] = np.maximum((means[end] - means[beside]) / steepness, 0.3 * deviation)
    return means, np.maximum(widths, 0.25 * deviation * len(x) ** -0.33)
