"""Inverses that undo another map."""

from keras import ops

from flowkit.bijectors import Elementwise, Exp, Shift
from flowkit.contract import Bijector, BijectorSpec
from tests.testing.wrong_bijectors.registry import breaks


@breaks("round trip")
class InverseIsForward(Shift):
    def _inverse(self, z):
        return z + self.shift, 0.0


class Bisected(Elementwise):
    """x + x^3 / 3, inverted by bisection."""

    steps = 40
    spec = BijectorSpec(inverse="iterative", round_trip=16, solver_gradients=False)

    def _forward(self, x):
        return x + x**3 / 3, ops.log1p(x**2)

    def _inverse(self, z):
        reach = ops.maximum(ops.abs(z), 1.0)
        low, high = -reach, reach
        for _ in range(self.steps):
            middle = (low + high) / 2
            above = middle + middle**3 / 3 > z
            low, high = ops.where(above, low, middle), ops.where(above, middle, high)
        x = (low + high) / 2
        return x, -ops.log1p(x**2)


@breaks("round trip")
class TooFewSteps(Bisected):
    steps = 14


@breaks("round trip")
class SaysAnalytic(Bisected):
    """Twenty steps, and the spec calls the inverse exact."""

    steps = 20
    spec = BijectorSpec()


@breaks("round trip")
class NotMonotoneFarOut(Elementwise):
    """Monotone about zero, and folded beyond 3."""

    def _forward(self, x):
        return ops.where(ops.abs(x) > 3, 6 * ops.sign(x) - x, x), ops.zeros_like(x)

    def _inverse(self, z):
        return z, ops.zeros_like(z)


@breaks("round trip", (1,), (3,))
class WrongForOneChannel(Shift):
    """Right for three channels, wrong for one."""

    def _inverse(self, z):
        return (z if z.shape[-1] == 1 else z - self.shift), 0.0


@breaks("round trip", (2, 2, 2), (2, 3, 2))
class OnlySquareImages(Bijector):
    """Transposes height and width on the way back by reshaping."""

    spec = BijectorSpec(event_rank=3, log_det="zero")

    def _forward(self, x):
        return ops.transpose(x, (0, 2, 1, 3)), 0.0

    def _inverse(self, z):
        _, h, w, c = z.shape
        return ops.reshape(z, (-1, w, h, c)) if h != w else ops.transpose(z, (0, 2, 1, 3)), 0.0

    def compute_output_shape(self, input_shape):
        b, h, w, c = input_shape
        return (b, w, h, c)

    def compute_inverse_shape(self, latent_shape):
        return self.compute_output_shape(latent_shape)


@breaks("inverse round trip")
class EpsilonInside(Exp):
    """log(z + 1e-4) against division by zero."""

    def _inverse(self, y):
        x = ops.log(y + 1e-4)
        return x, -x


@breaks("inverse round trip")
class WrongBelowZero(Elementwise):
    """A tail that only the inverse has."""

    def _forward(self, x):
        return 2 * x, ops.log(2 * ops.ones_like(x))

    def _inverse(self, z):
        return ops.where(z < -2, z, z / 2), -ops.log(2 * ops.ones_like(z))
