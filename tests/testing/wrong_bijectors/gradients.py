"""Gradients that are not those of the function."""

from keras import ops

from flowkit.bijectors import Elementwise, Exp, Scale, Shift
from flowkit.contract import Bijector, BijectorSpec, Domain, sum_event
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


ZERO_TIMES_INFINITY = ("jax", "torch")
"""Where the gradient of sqrt at 0 times 0 is NaN; TensorFlow's rule makes it 0."""


class Tilted(Bijector):
    """q = p exp(w) / sum(p exp(w)), on the simplex."""

    spec = BijectorSpec(domain=Domain.SIMPLEX, codomain=Domain.SIMPLEX)

    def build(self, x_shape):
        self.w = self.add_weight(shape=(x_shape[-1],), name="w", initializer="zeros")

    def _tilt(self, p, w):
        total = self._total(p * ops.exp(w))
        return p * ops.exp(w) / total, sum_event(w - ops.log(total))

    def _total(self, q):
        return ops.sum(q, axis=-1, keepdims=True)

    def _forward(self, p):
        return self._tilt(p, self.w)

    def _inverse(self, q):
        return self._tilt(q, -self.w)


@breaks("log-det gradient")
class StoppedTilt(Tilted):
    """The log-det forgets one of the weights' two ways into it."""

    def _forward(self, p):
        q, log_det = super()._forward(p)
        return q, log_det - ops.sum(self.w) + ops.sum(ops.stop_gradient(self.w))


@breaks("finite gradient", says="a finite gradient of forward's output for x", engines=ZERO_TIMES_INFINITY)
class WhereOfARoot(Elementwise):
    """sqrt(0) in the branch not taken: the output is finite, the gradient is not."""

    def _forward(self, x):
        root = ops.sqrt(ops.abs(x))
        return x + 0 * ops.where(x == 0, ops.zeros_like(x), root), ops.zeros_like(x)

    def _inverse(self, z):
        return z, ops.zeros_like(z)


@breaks("finite gradient", says="a finite gradient of forward's log-det for x")
class LogOfAnAbsolute(Exp):
    """x log|x| at 0."""

    def _forward(self, x):
        y, slope = super()._forward(x)
        return y, slope + 0 * ops.where(x == 0, ops.zeros_like(x), ops.log(ops.abs(x)))
