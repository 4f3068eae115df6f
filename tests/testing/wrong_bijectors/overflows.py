"""Formulas that overflow, or divide by a rounded zero, where the true answer is an ordinary number."""

from keras import ops

from flowkit.bijectors import Chain, Elementwise, Logit, Pointwise, Sigmoid, Softplus
from flowkit.contract import BijectorSpec, Domain
from flowkit.transforms import MixtureOfLogistics
from tests.testing.wrong_bijectors.registry import breaks


@breaks("finite", says="a finite output and log-det from forward")
class NaiveSoftplus(Softplus):
    def _forward(self, x):
        return ops.log(1 + ops.exp(x)), -ops.log(1 + ops.exp(-x))


@breaks("finite", says="a finite output and log-det from forward")
class NaiveSigmoid(Sigmoid):
    def _forward(self, x):
        y = ops.exp(x) / (1 + ops.exp(x))
        return y, ops.log(y) + ops.log(1 - y)


@breaks("finite", says="a finite output and log-det from forward")
class NaiveTanhSlope(Elementwise):
    spec = BijectorSpec(codomain=Domain.interval(-1, 1))

    def _forward(self, x):
        y = 2 * ops.sigmoid(2 * x) - 1
        return y, ops.log(1 - y * y)

    def _inverse(self, y):
        return 0.5 * (ops.log1p(y) - ops.log1p(-y)), -ops.log1p(y) - ops.log1p(-y)


@breaks("finite", says="a finite output and log-det from inverse")
class NaiveInverseSoftplus(Softplus):
    def _inverse(self, y):
        return ops.log(ops.exp(y) - 1), y - ops.log(ops.exp(y) - 1)


@breaks("finite", says="a finite output and log-det from forward")
class ZeroTimesInfinity(Elementwise):
    def _forward(self, x):
        return x + 0 * ops.exp(x), ops.zeros_like(x)

    def _inverse(self, z):
        return z, ops.zeros_like(z)


@breaks("finite", says="a finite output and log-det from forward")
class SquaredNorm(Elementwise):
    """x / sqrt(1 + x^2) by way of exp(2 log)."""

    def _forward(self, x):
        return x, ops.log(1 + ops.exp(ops.abs(x))) - ops.log(1 + ops.exp(ops.abs(x)))

    def _inverse(self, z):
        return z, ops.zeros_like(z)


@breaks("finite", says="a finite output and log-det from forward")
def sigmoid_then_logit():
    """The identity by way of (0, 1): 1 - 1e-8 is 1 in float32, and its logit infinite."""
    return Chain([Sigmoid(), Logit()])


class ByTheDistributionFunction(MixtureOfLogistics):
    """The logit of a probability, which rounds to 1 far out: Flow++ as its authors published it."""

    def forward(self, x, log_weights, means, log_scales, log_scale, shift):
        reach = (ops.expand_dims(x, -2) - means) * ops.exp(-log_scales)
        probability = ops.sum(ops.exp(log_weights) * ops.sigmoid(reach), axis=-2)
        _, log_slope = super().forward(x, log_weights, means, log_scales, log_scale, shift)
        return ops.log(probability / (1 - probability)) * ops.exp(log_scale) + shift, log_slope


@breaks("finite", (2,), says="a finite output and log-det from forward")
class SaturatedTails(Pointwise):
    def __init__(self, **kwargs):
        super().__init__(ByTheDistributionFunction(2), **kwargs)

    def get_config(self):
        return {
            key: value for key, value in super().get_config().items() if key in ("name", "dtype", "trainable")
        }
