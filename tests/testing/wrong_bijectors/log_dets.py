"""Log-dets that are not the logarithm of the Jacobian's determinant."""

from keras import ops

from flowkit.bijectors import Elementwise, Scale
from flowkit.contract import BijectorSpec, Domain
from tests.testing.wrong_bijectors.registry import breaks


@breaks("log-det")
class SignFlip(Scale):
    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, -log_det


@breaks("log-det")
class ScalarOfTheBatch(Elementwise):
    """One number for the whole batch, which broadcasting hides."""

    spec = BijectorSpec(codomain=Domain.POSITIVE)

    def run(self, x, call, noise=None, derived=None):
        y, log_det = super().run(x, call, noise, derived)
        return y, ops.mean(log_det)

    def _forward(self, x):
        return ops.exp(x), x

    def _inverse(self, y):
        return ops.log(y), -ops.log(y)


@breaks("log-det", says="NaN at")
class LogOfANegativeSlope(Elementwise):
    """A logarithm without its absolute value, NaN in both directions."""

    spec = BijectorSpec(log_det="constant")

    def _forward(self, x):
        return -2 * x, ops.log(ops.zeros_like(x) - 2)

    def _inverse(self, z):
        return -z / 2, -ops.log(ops.zeros_like(z) - 2)


@breaks("inverse log-det")
class InverseNotNegated(Scale):
    def _inverse(self, z):
        x, log_det = super()._inverse(z)
        return x, -log_det


@breaks("log-det")
class SlightlyOff(Elementwise):
    """A constant of the log-det is right to five digits."""

    spec = BijectorSpec(log_det="constant")

    def _forward(self, x):
        return 2 * x, ops.zeros_like(x) + 0.69315

    def _inverse(self, z):
        return z / 2, ops.zeros_like(z) - 0.69315


@breaks("log-det")
class WrongFarOut(Elementwise):
    """A linear tail whose slope the log-det does not know."""

    def _forward(self, x):
        return ops.where(ops.abs(x) > 4, 2 * x - 4 * ops.sign(x), x), ops.zeros_like(x)

    def _inverse(self, z):
        return ops.where(ops.abs(z) > 4, (z + 4 * ops.sign(z)) / 2, z), ops.zeros_like(z)


@breaks("log-det", says="a log_det of a singular Jacobian")
class ClampedForward(Elementwise):
    """Constant beyond a bound: not invertible there, and the log-det does not say so."""

    def _forward(self, x):
        return ops.clip(x, -3, 3), ops.zeros_like(x)

    def _inverse(self, z):
        return z, ops.zeros_like(z)
