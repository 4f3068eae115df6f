"""Layers that draw wrongly, or weigh wrongly what they draw."""

import math

from keras import ops

from flowkit.bijectors import Pointwise
from flowkit.conditioners import MLP
from flowkit.contract.shapes import event_size
from flowkit.data import Dequantize, VariationalDequantize
from flowkit.surjections import Absolute, Augment, Slice
from flowkit.transforms import Gaussian
from tests.testing.drawing_layers import Signed
from tests.testing.residual_layers import Hutchinson
from tests.testing.wrong_bijectors.registry import Bare, breaks


class Variational(Bare, VariationalDequantize):
    def __init__(self, **kwargs):
        super().__init__(Pointwise(Gaussian(), MLP([4])), **kwargs)


@breaks("log-det")
class NoiseWithoutItsDensity(Variational):
    """Variational dequantisation that adds the volume of a cell, and forgets log q(u | x)."""

    def _forward(self, x, noise):
        y, _ = super()._forward(x, noise)
        return y, self.log_volume(event_size(x.shape))


class Sliced(Bare, Slice):
    def __init__(self, **kwargs):
        super().__init__(1, Pointwise(Gaussian(), MLP([4])), **kwargs)


class Augmented(Bare, Augment):
    def __init__(self, **kwargs):
        super().__init__(1, Pointwise(Gaussian(), MLP([4])), **kwargs)


@breaks("inverse log-det", (2,))
class StaleWhenDropped(Sliced):
    """The density of what is dropped is taken given other numbers than those that are kept."""

    def run(self, x, call, noise=None, derived=None):
        if noise is not None:
            return super().run(x, call, noise)
        kept, dropped = x[..., :1], x[..., 1:]
        return kept, self._drop(ops.concatenate([0.5 * kept, dropped], axis=-1), call)[1]


@breaks("noise", says="an answer of forward that depends on its noise")
class NoiseIgnored(Augmented):
    """Always the mean."""

    def run(self, x, call, noise=None, derived=None):
        return super().run(x, call, None if noise is None else ops.zeros_like(noise))


@breaks("log-det", says="a log_det of a singular Jacobian")
class NoiseUsedOnce(Slice):
    """Two entries are made of one number."""

    def __init__(self, keep=1, density=None, **kwargs):
        super().__init__(keep, density, **kwargs)

    def run(self, x, call, noise=None, derived=None):
        return super().run(
            x, call, None if noise is None else ops.repeat(noise[:, :1], noise.shape[1], axis=1)
        )


@breaks("batch independence", (2,))
class NoiseOfTheNeighbour(Sliced):
    def run(self, x, call, noise=None, derived=None):
        return super().run(x, call, None if noise is None else ops.roll(noise, 1, axis=0))


@breaks("noise", says="forward to ask for its noise")
class NotAskedForNoise(Augmented):
    """Without noise it takes zeros."""

    def call(self, x, context=None, inverse=False, noise=None):
        noise = ops.zeros_like(x[..., :1]) if noise is None and not inverse else noise
        return super().call(x, context, inverse, noise)


@breaks("noise", says="an output of inverse that does not depend on noise")
class NoisyOutput(Hutchinson):
    """The solver begins at its noise, and stops before that is forgotten."""

    def _inverse(self, z, noise):
        x, log_det = super()._inverse(z, noise)
        return x + 1e-4 * noise, log_det


@breaks("round trip")
class SaysItForgetsNothing(Sliced):
    def is_lossy(self, *, inverse):
        return False


@breaks("inverse log-det")
class VolumeOfOneEntry(Dequantize):
    """The way back takes one entry's volume."""

    def _inverse(self, y):
        return super()._inverse(y)[0], -self.log_volume(1)


@breaks("round trip")
class HalfALevelOff(Dequantize):
    """Rounds where it should take the floor."""

    def _inverse(self, y):
        level = ops.clip(ops.round((y + 0.5) * self.levels), 0, self.levels - 1)
        return level * self.step, -self.log_volume(event_size(y.shape))


@breaks("log-det")
class OneSignCounted(Signed):
    """log 2 is counted once, not for each entry."""

    def _forward(self, x, noise):
        return super()._forward(x, noise)[0], math.log(2)

    def _inverse(self, z):
        return super()._inverse(z)[0], -math.log(2)


class Wide(Hutchinson):
    """Slopes up to 0.8, where it shows what a trace leaves out."""

    bound, steps, terms = 0.8, 60, 30


@breaks("log-det")
class ProbeOfWrongVariance(Wide):
    """Uniform numbers between -1 and 1 have a variance of 1/3."""

    noise_kind = "uniform"

    def _series(self, x, probe):
        return super()._series(x, 2 * probe - 1)


@breaks("inverse log-det")
class EstimatedAtTheLatent(Wide):
    def _inverse(self, z, noise):
        return self._solve(z), -self._series(z, noise)


@breaks("log-det")
class SignsOfUnequalChance(Absolute):
    """Draws + in 7 of 10 cases, with the log-det of one in two."""

    def _inverse(self, z, noise):
        return super()._inverse(z, ops.where(noise < 0.7, 0.25, 0.75))


@breaks("log-det")
class OneNumberForAllSigns(Absolute):
    def _inverse(self, z, noise):
        return super()._inverse(z, ops.repeat(noise[:, :1], noise.shape[1], axis=1))
