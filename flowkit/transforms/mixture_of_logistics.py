"""Mixtures of logistic distributions, as in Flow++."""

from typing import Any

import keras
from keras import ops

from flowkit import backends
from flowkit.contract.arguments import whole_number
from flowkit.numerics import tanh
from flowkit.transforms.sigmoid_mixture import even_steps, least_and_largest, logit_of_mixture, spread_of
from flowkit.transforms.solved import Solved

_LARGEST = 7.0  # of a log-scale


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

    def __init__(self, components: int = 32, *, spread: float = 1.0) -> None:
        self.components = whole_number(components, "MixtureOfLogistics's components", least=1)
        self.spread = spread_of(spread, "MixtureOfLogistics's spread")

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
