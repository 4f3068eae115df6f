"""Mistakes of published implementations of continuous flows."""

import numpy as np
from keras import ops

from flowkit.bijectors import Continuous
from flowkit.conditioners import Field
from flowkit.contract import Bijector, BijectorSpec
from tests.testing.wrong_bijectors.registry import Bare, breaks


class Solved(Bare, Continuous):
    def __init__(self, **kwargs):
        super().__init__(Field([6]), "midpoint", steps=8, **kwargs)


@breaks("log-det", (2,))
class DivergenceAtTheWrongPoint(Solved):
    def _rate(self, given, call, integrate=True):
        rate = super()._rate(given, call, integrate)
        return lambda x, t: (rate(x, t)[0], rate(0.5 * x, t)[1])


@breaks("wrong size", (3, 2), says="from weights made for 3")
class AnyNumberOfTokens(Bijector):
    """Its places are repeated for more tokens than it was built for, though it says that all axes are fixed."""

    spec = BijectorSpec(event_rank=2, log_det="zero", fixed_axes="all")

    def build(self, x_shape):
        self.place = self.add_weight(shape=x_shape[1:], initializer="glorot_uniform", name="place")

    def _check_shape(self, x_shape):
        pass

    def _places(self, x):
        return ops.take(self.place, np.arange(x.shape[1]) % self.place.shape[0], axis=0)

    def _forward(self, x):
        return x + self._places(x), 0.0

    def _inverse(self, z):
        return z - self._places(z), 0.0
