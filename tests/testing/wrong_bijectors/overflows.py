"""Formulas that overflow, or divide by a rounded zero, where the true answer is an ordinary number."""

from keras import ops

from flowkit.bijectors import Chain, Elementwise, Logit, Sigmoid, Softplus
from tests.testing.wrong_bijectors.registry import breaks


@breaks("finite", says="a finite output and log-det from forward")
class NaiveSigmoid(Sigmoid):
    def _forward(self, x):
        y = ops.exp(x) / (1 + ops.exp(x))
        return y, ops.log(y) + ops.log(1 - y)


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
def sigmoid_then_logit():
    """The identity by way of (0, 1): 1 - 1e-8 is 1 in float32, and its logit infinite."""
    return Chain([Sigmoid(), Logit()])
