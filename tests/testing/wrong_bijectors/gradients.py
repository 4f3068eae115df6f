"""Gradients that are not those of the function."""

from keras import ops

from flowkit.bijectors import Elementwise, Exp, Scale, Shift
from tests.testing.wrong_bijectors.registry import breaks


@breaks("log-det gradient")
class StoppedLogDet(Scale):
    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, ops.stop_gradient(log_det)


@breaks("log-det gradient")
class StoppedInverseLogDet(Scale):
    def _inverse(self, z):
        x, log_det = super()._inverse(z)
        return x, ops.stop_gradient(log_det)


@breaks("log-det gradient")
class StoppedForTheInput(Elementwise):
    def _forward(self, x):
        return x + x**3 / 3, ops.log1p(ops.stop_gradient(x) ** 2)

    def _inverse(self, z):
        return z, ops.zeros_like(z)


@breaks("output gradient")
class StoppedShift(Shift):
    def _forward(self, x):
        return x + ops.stop_gradient(self.shift), 0.0


@breaks("output gradient")
class StoppedInverse(Shift):
    """Training by samples would learn nothing."""

    def _inverse(self, z):
        return z - ops.stop_gradient(self.shift), 0.0


@breaks("output gradient")
class StraightThrough(Elementwise):
    """Rounds, and lets the gradient pass as if it did not."""

    def _forward(self, x):
        return x + ops.stop_gradient(0.5 * ops.log1p(x**2)), ops.zeros_like(x)

    def _inverse(self, z):
        return z, ops.zeros_like(z)


@breaks("finite gradient", says="a finite gradient of the output for x")
class WhereOfARoot(Elementwise):
    """sqrt(0) in the branch not taken: the output is finite, the gradient is not."""

    def _forward(self, x):
        root = ops.sqrt(ops.abs(x))
        return x + 0 * ops.where(x == 0, ops.zeros_like(x), root), ops.zeros_like(x)

    def _inverse(self, z):
        return z, ops.zeros_like(z)


@breaks("finite gradient", says="a finite gradient of the log-det for x")
class LogOfAnAbsolute(Exp):
    """x log|x| at 0."""

    def _forward(self, x):
        y, slope = super()._forward(x)
        return y, slope + 0 * ops.where(x == 0, ops.zeros_like(x), ops.log(ops.abs(x)))
