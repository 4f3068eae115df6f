"""The normal distribution."""

import math
from typing import Any

import keras
from keras import ops

from flowkit.distributions.location_scale import LocationScale


@keras.saving.register_keras_serializable("flowkit")
class Normal(LocationScale):
    """log p(z) = -1/2 sum(eps^2 + ln 2 pi) - sum(logs), eps = (z - mean) exp(-logs): independent normals.

    Standard without arguments, with weights (`learn=True`) or given a context (`conditioner=MLP([64])`), as said for
    every `LocationScale`.

    >>> round(float(Normal().log_prob(ops.zeros((1, 2)))[0]), 4)
    -1.8379
    """

    def standard_log_density(self, eps: Any) -> Any:
        return -0.5 * (ops.square(eps) + math.log(2 * math.pi))

    def standard_sample(self, shape: Any, seed: int) -> Any:
        return keras.random.normal(shape, dtype=self.compute_dtype, seed=seed)
