"""Keras's numpy backend, which computes no gradients."""

import scipy.special  # comes with JAX, whose convolutions this backend borrows

from flowkit.engines.base import Engine
from flowkit.engines.replay import Replay
from flowkit.engines.steps import one_by_one


class NumpyEngine(Engine):
    """NumPy: scores and samples, and trains nothing."""

    name = "numpy"

    def devices(self):
        return ["cpu"]

    def lgamma(self, x):
        return scipy.special.gammaln(x)

    def backprop(self, stretches, x, call, *, invert, tolerance, on_drift):
        parts, variables, values = zip(*one_by_one(stretches(), call.inverse, self.unstack), strict=True)
        replay = Replay(parts, variables, call, invert)
        return replay.forward(x, replay.shared(), values)[:2]
