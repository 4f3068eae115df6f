"""Formulas that overflow, or divide by a rounded zero, where the true answer is an ordinary number."""

from keras import ops

from flowkit.bijectors import Elementwise, Softplus
from tests.testing.wrong_bijectors.registry import breaks


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
