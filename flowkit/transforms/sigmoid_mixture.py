"""Mixtures of sigmoids, between the real line and itself."""

import functools
import math
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.contract.arguments import Count, real
from flowkit.numerics import log_sigmoid, maximum, minimum
from flowkit.transforms.slopes import slopes_of
from flowkit.transforms.solved import Solved

Spread = Annotated[float, real(0, math.inf, "a finite number from 0 up")]


@keras.saving.register_keras_serializable("flowkit")
class SigmoidMixture(Solved):
    """y = logit(sum_k w_k sigmoid(a_k x + b_k)), with weights w_k > 0 that add up to 1, and slopes a_k > 0.

    Raw numbers are `units` each of weights (a softmax of them), slopes (a softplus, never below 1e-3) and shifts. To
    the shifts are added even steps from -spread to spread: units that begin alike remain alike, since their gradients
    are the same, and all together would be one of them, an affine map. If all raw numbers are 0, then
    y = logit(mean_k sigmoid(x + b_k)), the identity if `spread` is 0 or there is one unit, and otherwise near to it.

    Both tails are straight lines. All is computed with logarithms of the mixture and of its complement, so that neither
    tail is lost. The inverse is solved, between the least and the largest of (y - b_k) / a_k, which always have it
    between them; its gradients are exact, for first derivatives.

    Raises ValueError for fewer than one unit, or a spread that is no finite number from 0 up. Huang, Krueger, Lacoste &
    Courville, Neural Autoregressive Flows (2018).

    >>> mixture = SigmoidMixture(units=4, spread=0.0)
    >>> y, log_slope = mixture.forward(ops.full((1, 1), 0.3), *mixture.prepare(ops.zeros((1, 12, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    def __init__(self, units: Count = 16, *, spread: Spread = 1.0) -> None:
        self.units, self.spread = units, spread

    @property
    def parameters(self) -> int:
        return 3 * self.units

    def prepare(self, h: Any) -> Any:
        n = self.units
        steps = backends.constant(even_steps, n, self.spread, like=h)
        log_weights = ops.log_softmax(h[..., :n, :], axis=-2)
        return log_weights, slopes_of(h[..., n : 2 * n, :]), h[..., 2 * n :, :] + steps

    def forward(self, x: Any, log_weights: Any, slopes: Any, shifts: Any) -> tuple[Any, Any]:
        return logit_of_mixture(slopes * ops.expand_dims(x, -2) + shifts, log_weights, ops.log(slopes))

    def bracket(self, y: Any, log_weights: Any, slopes: Any, shifts: Any) -> tuple[Any, Any]:
        return least_and_largest((ops.expand_dims(y, -2) - shifts) / slopes)


def logit_of_mixture(reach, log_weights, log_slopes):
    """(y, log dy/dx), y = logit(sum_k w_k sigmoid(c_k)), of the `reach` c_k, whose slopes are a_k = dc_k/dx.

    Units stand on the last axis but one. With F the sum, p_k = w_k sigmoid(c_k) / F and q_k = w_k sigmoid(-c_k) /
    (1 - F), dy/dx = sum_k a_k (p_k sigmoid(-c_k) + q_k sigmoid(c_k)): all terms are positive, and of the logarithms of
    F and 1 - F, large ones in the tails, none is left over to subtract.
    """
    below, above = log_sigmoid(reach), log_sigmoid(-reach)
    share, rest = log_weights + below, log_weights + above
    y = ops.logsumexp(share, axis=-2) - ops.logsumexp(rest, axis=-2)
    terms = [ops.log_softmax(share, axis=-2) + above, ops.log_softmax(rest, axis=-2) + below]
    return y, ops.logsumexp(ops.concatenate([log_slopes + term for term in terms], axis=-2), axis=-2)


def least_and_largest(a):
    """The least and the largest on the last axis but one; Keras has none of an empty batch."""
    each = ops.unstack(a, a.shape[-2], axis=-2)
    return functools.reduce(minimum, each), functools.reduce(maximum, each)


def even_steps(count, spread):
    """`count` numbers from -spread to spread, as a column; 0 alone if there is one."""
    return spread * (np.linspace(-1, 1, count) if count > 1 else np.zeros(1))[:, None]
