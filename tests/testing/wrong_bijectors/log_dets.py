"""Log-dets that are not the logarithm of the Jacobian's determinant."""

from keras import ops

from flowkit.bijectors import Elementwise, Scale
from flowkit.contract import Bijector, BijectorSpec, Domain
from tests.testing.wrong_bijectors.registry import breaks


@breaks("log-det")
class SignFlip(Scale):
    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, -log_det


@breaks("log-det", (2, 3, 2))
class ForgottenPlaces(Scale):
    """No factor height * width."""

    def _forward(self, x):
        return x * ops.exp(self.log_scale), ops.sum(self.log_scale)

    def _inverse(self, z):
        return z * ops.exp(-self.log_scale), -ops.sum(self.log_scale)


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


@breaks("inverse log-det")
class InverseNotNegated(Scale):
    def _inverse(self, z):
        x, log_det = super()._inverse(z)
        return x, -log_det


@breaks("inverse log-det")
class InverseLogDetAtZ(Elementwise):
    """The slope is taken at the wrong end."""

    def _forward(self, x):
        return _sinh(x), ops.log(_cosh(x))

    def _inverse(self, z):
        return ops.log(z + ops.sqrt(z * z + 1)), -ops.log(_cosh(z))


@breaks("log-det")
class MatrixSum(Bijector):
    """sum(log|diag W|) of a full matrix."""

    spec = BijectorSpec(log_det="constant")

    def build(self, x_shape):
        c = x_shape[-1]
        self.kernel = self.add_weight(shape=(c, c), name="W", initializer="identity")

    def _forward(self, x):
        return ops.matmul(x, self.kernel), ops.sum(ops.log(ops.abs(ops.diagonal(self.kernel))))

    def _inverse(self, z):
        return ops.matmul(z, ops.inv(self.kernel)), -ops.sum(ops.log(ops.abs(ops.diagonal(self.kernel))))


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


def _sinh(x):
    return (ops.exp(x) - ops.exp(-x)) / 2


def _cosh(x):
    return (ops.exp(x) + ops.exp(-x)) / 2
