"""Mistakes in layers of image flows."""

import math

from keras import ops

from flowkit.bijectors import GIN, Autoregressive, Coupling, Equalize, Haar, Woodbury
from flowkit.conditioners import MLP, CausalConvNet, GatedAttention
from flowkit.surjections import StochasticPermute
from flowkit.transforms import Affine, Gaussian
from tests.testing.wrong_bijectors.registry import breaks
from tests.testing.wrong_bijectors.transformers import Bare


@breaks("log-det", (2, 2, 1))
class SumsInPlaceOfHalves(Haar):
    """Haar wavelets as plain sums and differences, with the log-det of an orthogonal map."""

    def _forward(self, x):
        z, log_det = super()._forward(x)
        return 2 * z, log_det

    def _inverse(self, z):
        return super()._inverse(0.5 * z)


@breaks("round trip", (4,))
class WoodburyWithoutItsMatrix(Woodbury):
    """The inverse I - U V of I + U V, without the small matrix between U and V."""

    def factors(self, inverse=False):
        left, right = super().factors()
        return left, -right if inverse else right


class ScaledBeforeBalance(Affine):
    """The scales are those before their mean is taken off; the log-det, after it, is 0."""

    def _scale_of(self, s):
        log_scale, factor = super()._scale_of(s)
        return log_scale - ops.mean(log_scale, axis=-1, keepdims=True), factor


@breaks("log-det", (4,))
class VolumeNotKept(Bare, GIN):
    def __init__(self, **kwargs):
        super().__init__(MLP([4]), **kwargs)
        self.transform = ScaledBeforeBalance("tanh")


@breaks("log-det")
class CellsOfWidthOne(Equalize):
    """The slope in units of levels, not of entries."""

    def _forward(self, x, derived):
        z, log_slope = super()._forward(x, derived)
        return z, log_slope - math.log(self.levels)

    def _derive(self, x_shape, inverse):
        return super()._derive(x_shape, inverse)


@breaks("log-det kind", says="log_det = 0")
class OrdersCounted(StochasticPermute):
    """-ln n! for the order that is forgotten, which belongs to `Sort`: here the order is drawn again."""

    def _forward(self, x, noise):
        return super()._forward(x, noise)[0], -math.lgamma(x.shape[-1] + 1)

    def _inverse(self, z, noise):
        return super()._inverse(z, noise)[0], math.lgamma(z.shape[-1] + 1)


class SeesItself(CausalConvNet):
    """The window ends one place too late."""

    def call(self, x, context=None, derived=None):
        return super().call(ops.roll(x, -1, axis=1), context, derived)

    def _derive(self, x_shape):
        return super()._derive(x_shape)


@breaks("log-det", (2, 2, 1))
class WindowOffByOne(Bare, Autoregressive):
    def __init__(self, **kwargs):
        network = SeesItself(4, columns=2, depth=1, reach=1)
        super().__init__(network, Gaussian(min_scale=0.1), **kwargs)


class NormOverTheBatch(GatedAttention):
    def call(self, x, context=None):
        h = super().call(x, context)
        return h - ops.mean(h, axis=0)


@breaks("batch independence", (2, 2, 2))
class AttentionOfTheWholeBatch(Bare, Coupling):
    """A network whose outputs are centred by the batch that they come in."""

    def __init__(self, **kwargs):
        super().__init__(NormOverTheBatch(4, blocks=1, heads=1), **kwargs)
