"""Mixtures of sigmoids and of logistic distributions, between the real line and itself."""

import functools
import math
from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.contract import Tensor
from flowkit.contract.arguments import Count, real
from flowkit.engines import engine
from flowkit.numerics import log_sigmoid, maximum, minimum, tanh
from flowkit.transforms.splines import slopes_of
from flowkit.transforms.transform import Solved

Spread = Annotated[float, real(0, math.inf, "a finite number from 0 up")]


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

    def prepare(self, h: Tensor) -> Tensor:
        weights, slopes, shifts = engine.split(h, [self.units] * 3, axis=-2)
        steps = engine.constant(even_steps, self.units, self.spread, like=h)
        return ops.log_softmax(weights, axis=-2), slopes_of(slopes), shifts + steps

    def forward(self, x: Tensor, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        log_weights, slopes, shifts = prepared
        return logit_of_mixture(slopes * ops.expand_dims(x, -2) + shifts, log_weights, ops.log(slopes))

    def bracket(self, y: Tensor, log_weights: Tensor, slopes: Tensor, shifts: Tensor) -> tuple[Any, Any]:
        return least_and_largest((ops.expand_dims(y, -2) - shifts) / slopes)


def logit_of_mixture(reach, log_weights, log_slopes):
    """Return (y, log dy/dx), y = logit(sum_k w_k sigmoid(c_k)), of the `reach` c_k, whose slopes are a_k = dc_k/dx.

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
    """Return the least and the largest on the last axis but one; Keras has none of an empty batch."""
    each = ops.unstack(a, a.shape[-2], axis=-2)
    return functools.reduce(minimum, each), functools.reduce(maximum, each)


def even_steps(count, spread):
    """Return `count` numbers from -spread to spread, as a column; 0 alone if there is one."""
    return spread * (np.linspace(-1, 1, count) if count > 1 else np.zeros(1))[:, None]


_LARGEST = 7.0  # of a log-scale
STEEPNESS = 1.702  # sigmoid(1.702 x) is within 0.01 of the normal distribution


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

    def prepare(self, h: Tensor) -> Tensor:
        n = self.components
        weights, means, log_scales, s, t = engine.split(h, [n, n, n, 1, 1], axis=-2)
        means = means + engine.constant(even_steps, n, self.spread, like=h)
        log_scales = _LARGEST * tanh(log_scales / _LARGEST)
        return ops.log_softmax(weights, axis=-2), means, log_scales, tanh(s[..., 0, :]), t[..., 0, :]

    def forward(self, x: Tensor, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        log_weights, means, log_scales, log_scale, shift = prepared
        reach = (ops.expand_dims(x, -2) - means) * ops.exp(-log_scales)
        logit, log_slope = logit_of_mixture(reach, log_weights, -log_scales)
        return logit * ops.exp(log_scale) + shift, log_slope + log_scale

    def bracket(self, y: Tensor, *prepared: Tensor) -> tuple[Any, Any]:
        _, means, log_scales, log_scale, shift = prepared
        logit = ops.expand_dims((y - shift) * ops.exp(-log_scale), -2)
        return least_and_largest(means + ops.exp(log_scales) * logit)

    def fitted(self, x: Tensor) -> Tensor:
        means, widths = components_of(x, self.components)
        n, channels = self.components, x.shape[1]
        log_scales = np.clip(np.log(widths) / _LARGEST, -0.99, 0.99)
        means, log_scales = means - even_steps(n, self.spread), _LARGEST * np.arctanh(log_scales)
        scale = np.full((1, channels), np.arctanh(-math.log(STEEPNESS)))
        return np.concatenate([np.zeros((n, channels)), means, log_scales, scale, np.zeros((1, channels))])


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
