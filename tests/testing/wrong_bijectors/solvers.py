"""Solvers that stop too early, or stop gradients; and what is refreshed at the wrong place."""

from keras import ops

from flowkit import numerics
from flowkit.bijectors import Elementwise
from tests.testing.residual_layers import Residual, Spectral
from tests.testing.wrong_bijectors.registry import breaks


class Bump(Elementwise):
    """z = x + tanh(x) / (1 + exp(-w)), solved with gradients."""

    def build(self, x_shape):
        self.w = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="w")

    def _forward(self, x):
        share, t = ops.sigmoid(self.w), numerics.tanh(x)
        return x + share * t, ops.log1p(share * (1 - t * t))

    def _inverse(self, z):
        x = numerics.solve_increasing(self._forward, z, z - 1, z + 1)
        return x, -self._forward(x)[1]


@breaks("round trip")
class TooFewFixedPoints(Residual):
    steps = 4


@breaks("inverse log-det")
class JacobianAtTheLatent(Residual):
    def _inverse(self, z):
        return self._solve(z), -self._log_det(z)


@breaks("output gradient")
class StoppedInTheSolver(Residual):
    """The fixed point is found outside of what is differentiated, and no step is taken inside."""

    def _solve(self, z):
        return ops.stop_gradient(super()._solve(z))


@breaks("log-det gradient")
class StoppedAfterTheSolver(Residual):
    """The output has its gradients, the log-det is taken at a point without."""

    def _inverse(self, z):
        x = self._solve(z)
        return x, -self._log_det(ops.stop_gradient(x))


@breaks("output gradient")
class LastStepAlone(Residual):
    """The gradient of the last step only, which is near the right one but not it."""

    def _solve(self, z):
        x = ops.stop_gradient(super()._solve(z))
        return z - self._g(x)[0]


@breaks("refresh", says="refresh to leave the trained weight")
class RefreshTrains(Spectral):
    """Divides the weights themselves by their norms."""

    def _refresh(self, x):
        super()._refresh(x)
        self.w1.assign(self.w1 / (1 + self.sizes[0]))


@breaks("refresh", says="finite numbers in weight")
class RefreshDividesByZero(Spectral):
    def _refresh(self, x):
        super()._refresh(x)
        self.sizes[0].assign(self.sizes[0] / (0.0 * self.sizes[1]))


@breaks("refresh", says="refresh to change a weight")
class RefreshesNothing(Spectral):
    def _refresh(self, x):
        pass


@breaks("purity", says="forward to leave weight")
class RefreshedByCalls(Spectral):
    """A power iteration in each call."""

    def _forward(self, x):
        self._refresh(x)
        return super()._forward(x)
