"""Mistakes in couplings of patches and in causal transformers."""

from flowkit.bijectors import Autoregressive, PatchCoupling
from flowkit.conditioners import CausalTransformer, ViT
from flowkit.conditioners.transformer import TransformerInTurn
from flowkit.engines import engine
from flowkit.transforms import Gaussian
from tests.testing.wrong_bijectors.noises import bare
from tests.testing.wrong_bijectors.registry import breaks


class Bare:
    def get_config(self):
        return bare(super().get_config())

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Patches(Bare, PatchCoupling):
    def __init__(self, **kwargs):
        super().__init__(ViT(4, depth=1, heads=1), splits=["channels"], **kwargs)


@breaks("log-det", (1, 2, 2))
class PatchesWithTheOtherSign(Patches):
    def _move(self, given, prepared, inverse):
        moved, log_det = super()._move(given, prepared, inverse)
        return moved, -log_det


class ByPlaces(Bare, Autoregressive):
    network = CausalTransformer

    def __init__(self, **kwargs):
        network = self.network(4, depth=1, heads=1)
        super().__init__(network, Gaussian(min_scale=0.1), order="reversed", **kwargs)


class HearsAll(CausalTransformer):
    def _mixed(self, q, k, v):
        return engine.attend(q, k, v)


@breaks("log-det", (1, 3, 2))
class PlacesHearThoseToCome(ByPlaces):
    """Attention without the causal mask."""

    network = HearsAll


@breaks("round trip", (1, 3, 2))
class OrderNotTurnedBack(ByPlaces):
    """The inverse takes places in the order in which they stand."""

    def run(self, x, call, noise=None, derived=None):
        self.order = None if call.inverse else "reversed"
        return super().run(x, call, noise, derived)


class KeepsOneTooFew(TransformerInTurn):
    def _heard(self, k, indices, count):
        return super()._heard(k - 1 if isinstance(k, int) and k > 1 else k, indices, count)


class ShortMemory(CausalTransformer):
    @property
    def in_turn(self):
        return KeepsOneTooFew(self)

    def call(self, x, context=None, derived=None):
        return super().call(x, context, derived)

    def _derive(self, x_shape):
        return super()._derive(x_shape)


@breaks("round trip", (1, 3, 2), engines=("torch",))
class CacheOffByOne(ByPlaces):
    """A place does not hear the one just before it on the way back."""

    network = ShortMemory
