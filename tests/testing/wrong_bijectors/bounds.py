"""A bound on weights that is wrong, which shows only where weights are large."""

from keras import ops

from flowkit import numerics
from flowkit.contract import Bijector, BijectorSpec
from tests.testing.wrong_bijectors.registry import breaks


class FreePlanar(Bijector):
    """x + u tanh(w.x + b), with u bent such that w.u > -1 (Rezende and Mohamed, 2015); w.x by bisection."""

    spec = BijectorSpec(inverse="iterative", event_rank=1)

    def build(self, x_shape):
        self.w = self.add_weight(shape=(x_shape[-1],), initializer="ones", name="w")
        self.u = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="u")
        self.b = self.add_weight(shape=(), initializer="zeros", name="b")

    def _norm(self):
        """|w|^2, which makes w.u the wanted number."""
        return ops.sum(self.w * self.w)

    def _bent(self):
        reach = ops.sum(self.w * self.u)
        return self.u + (numerics.softplus(reach) - 1 - reach) * self.w / self._norm()

    def _along(self, a, reach):
        """(a + w.u tanh(a + b), the logarithm of its slope)."""
        t = numerics.tanh(a + self.b)
        return a + reach * t, ops.log(ops.abs(1 + reach * (1 - t * t)))

    def _forward(self, x):
        u, a = self._bent(), ops.sum(x * self.w, axis=-1, keepdims=True)
        return x + u * numerics.tanh(a + self.b), self._along(a, ops.sum(self.w * u))[1][:, 0]

    def _inverse(self, z):
        u, target = self._bent(), ops.sum(z * self.w, axis=-1, keepdims=True)
        reach = ops.sum(self.w * u)
        size = ops.abs(reach) + 1
        a = numerics.solve_increasing(lambda a: self._along(a, reach), target, target - size, target + size)
        return z - u * numerics.tanh(a + self.b), -self._along(a, reach)[1][:, 0]


@breaks("round trip", (3,))
class DividedByTheNorm(FreePlanar):
    """w / |w| in place of w / |w|^2: no bijection where w is long."""

    def _norm(self):
        return ops.sqrt(super()._norm())
