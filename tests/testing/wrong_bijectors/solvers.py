"""Solvers that stop too early, or stop gradients; and what is refreshed at the wrong place."""

from keras import ops

from tests.testing.residual_layers import Residual, Spectral
from tests.testing.wrong_bijectors.registry import breaks


@breaks("inverse log-det")
class JacobianAtTheLatent(Residual):
    def _inverse(self, z):
        return self._solve(z), -self._log_det(z)


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
