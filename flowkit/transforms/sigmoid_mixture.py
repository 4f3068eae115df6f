"""Mixtures of sigmoids, between the real line and itself."""

import functools
import math
from typing import Any

import keras
from keras import ops

from flowkit.contract.arguments import whole_number
from flowkit.numerics import log_sigmoid, softplus, solve_increasing
from flowkit.transforms.transform import Transform

_LEAST = 1e-3  # of a slope
_ONE = math.log(math.expm1(1 - _LEAST))  # softplus of it, and _LEAST, make 1


@keras.saving.register_keras_serializable("flowkit")
class SigmoidMixture(Transform):
    """y = logit(sum_k w_k sigmoid(a_k x + b_k)), with weights w_k > 0 that add up to 1, and slopes a_k > 0.

    Raw numbers are `units` each of weights (a softmax of them), slopes (a softplus) and shifts; if all are 0, it is the
    identity. Both tails are straight lines. All is computed with logarithms of the mixture and of its complement, so
    that neither tail is lost.

    The inverse is solved, between the least and the largest of (y - b_k) / a_k, which always have it between them; its
    gradients are exact, for first derivatives. Raises ValueError for fewer than one unit. Huang, Krueger, Lacoste &
    Courville, Neural Autoregressive Flows (2018).

    >>> mixture = SigmoidMixture(units=4)
    >>> y, log_slope = mixture.forward(ops.full((1, 1), 0.3), *mixture.prepare(ops.zeros((1, 12, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    inverse_kind = "iterative"

    def __init__(self, units: int = 16) -> None:
        self.units = whole_number(units, "SigmoidMixture's units", least=1)

    @property
    def parameters(self) -> int:
        return 3 * self.units

    def prepare(self, h: Any) -> Any:
        n = self.units
        log_weights = ops.log_softmax(h[..., :n, :], axis=-2)
        return log_weights, _LEAST + softplus(h[..., n : 2 * n, :] + _ONE), h[..., 2 * n :, :]

    def forward(self, x: Any, log_weights: Any, slopes: Any, shifts: Any) -> tuple[Any, Any]:
        reach = slopes * ops.expand_dims(x, -2) + shifts
        below, above = log_sigmoid(reach), log_sigmoid(-reach)
        log_share, log_rest = _log_sum(log_weights + below), _log_sum(log_weights + above)
        log_density = _log_sum(log_weights + ops.log(slopes) + below + above)
        return log_share - log_rest, log_density - log_share - log_rest

    def inverse(self, y: Any, log_weights: Any, slopes: Any, shifts: Any) -> tuple[Any, Any]:
        ends = (ops.expand_dims(y, -2) - shifts) / slopes  # where each unit alone would have y

        def f(x):
            return self.forward(x, log_weights, slopes, shifts)

        each = ops.unstack(ends, self.units, axis=-2)  # Keras has no least of an empty batch
        low, high = functools.reduce(ops.minimum, each), functools.reduce(ops.maximum, each)
        room = 1e-3 * (1 + ops.abs(low) + ops.abs(high))  # for the rounding of the ends
        x = solve_increasing(f, y, low - room, high + room)
        return x, -f(x)[1]


def _log_sum(a):
    return ops.logsumexp(a, axis=-2)
