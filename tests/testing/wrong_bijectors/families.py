"""Mistakes of published implementations of the families."""

from keras import ops

from flowkit import numerics
from flowkit.bijectors import Autoregressive, Coupling
from flowkit.conditioners import MADE
from flowkit.contract import Bijector, BijectorSpec, sum_event
from flowkit.transforms import RationalQuadratic
from tests.testing.families import Attention, Continuous, reader
from tests.testing.wrong_bijectors.noises import bare
from tests.testing.wrong_bijectors.registry import breaks


class Spline(Coupling):
    def __init__(self, **kwargs):
        super().__init__(reader(), RationalQuadratic(3), **kwargs)

    def get_config(self):
        return bare(super().get_config())

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@breaks("inverse log-det")
class SplineSlopeOfForward(Spline):
    """The inverse gives the log-det of forward."""

    def run(self, x, call, noise=None, derived=None):
        y, log_det = super().run(x, call, noise, derived)
        return y, -log_det if call.inverse else log_det


@breaks("round trip")
class SplineContextDropped(Spline):
    """The inverse's network is given no context."""

    def run(self, x, call, noise=None, derived=None):
        return super().run(x, call._replace(context=call.context * 0) if call.inverse else call)


class Masked(Autoregressive):
    def __init__(self, **kwargs):
        super().__init__(MADE([4]), **kwargs)

    def get_config(self):
        return bare(super().get_config())

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@breaks("inverse log-det")
class MaskedStaleLogDet(Masked):
    """The log-det of the inverse is taken at the latent."""

    def run(self, x, call, noise=None, derived=None):
        y, log_det = super().run(x, call, noise, derived)
        return y, -super().run(x, call._replace(inverse=False))[1] if call.inverse else log_det


@breaks("round trip")
class ReflectionByTheNorm(Bijector):
    """x - 2 v (v.x) / |v|: divides by |v|, not by its square."""

    spec = BijectorSpec(log_det="zero")

    def build(self, x_shape):
        self.v = self.add_weight(shape=(x_shape[-1],), initializer="ones", name="v")

    def _forward(self, x):
        share = ops.sum(x * self.v, axis=-1, keepdims=True) / numerics.norm(self.v)
        return x - 2 * share * self.v, 0.0

    def _inverse(self, z):
        return self._forward(z)


@breaks("log-det")
class DivergenceWithTheOtherSign(Continuous):
    def _forward(self, x, context):
        z, log_det = super()._forward(x, context)
        return z, -log_det


@breaks("round trip")
class TimeNotTurned(Continuous):
    """The way back runs through the same times as the way there: right where the field does not depend on time."""

    def _inverse(self, z, context):
        h, total = 1 / self.steps, 0.0
        for i in range(self.steps):
            rate, divergence = self._rate(z, i * h, context)
            z, total = z - h * rate, total - h * divergence
        return z, total


@breaks("log-det", (3, 2))
class MeanOverTokens(Attention):
    """The log-det as a mean, as in the reference implementation, whose loss is one as well."""

    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, log_det / (x.shape[1] * x.shape[2])


@breaks("log-det", (3, 2))
class NotShifted(Attention):
    """A token reads itself."""

    def _shifted(self, h):
        return h


@breaks("round trip", (3, 2))
class OneTokenTooFew(Attention):
    def _inverse(self, z):
        x = ops.zeros_like(z)
        for _ in range(z.shape[1] - 1):
            shift, log_scale = self._moves(x)
            x = z * ops.exp(log_scale) + shift
        return x, sum_event(log_scale)


@breaks("wrong size", (3, 2), says="from weights made for 3")
class AnyNumberOfTokens(Attention):
    """Its places are repeated for more tokens than it was built for, though it says that all axes are fixed."""

    def _check_shape(self, x_shape):
        pass

    def _moves(self, x):
        return super()._moves(x[:, : self.place.shape[0]])
