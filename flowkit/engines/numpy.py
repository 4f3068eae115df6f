"""Keras's numpy backend, which computes no gradients."""

import keras
import numpy as np
import scipy.special  # comes with JAX, whose convolutions this backend borrows

from flowkit.engines.base import Engine
from flowkit.engines.steps import one_by_one


class NumpyEngine(Engine):
    """NumPy: scores and samples, and trains nothing."""

    name = "numpy"
    supports_training = False

    def version(self):
        return np.__version__

    def devices(self):
        return ["cpu"]

    def lgamma(self, x):
        return scipy.special.gammaln(x)

    def backprop(self, stretches, x, context, inverse, *, invert, tolerance, on_drift):
        total = 0.0
        for part, variables, values in one_by_one(stretches(), inverse, self.unstack):
            with keras.StatelessScope(list(zip(variables, values, strict=True))):
                x, log_det = part.run(x, context, inverse=inverse)
            total = total + log_det
        return x, total
