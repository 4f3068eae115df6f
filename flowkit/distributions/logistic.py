"""The logistic distribution."""

from typing import Any

import keras
from keras import ops

from flowkit.distributions.location_scale import LocationScale
from flowkit.numerics import log_sigmoid


@keras.saving.register_keras_serializable("flowkit")
class Logistic(LocationScale):
    """log p0(eps) = log sigmoid(eps) + log sigmoid(-eps): tails that fall like exp(-|eps|).

    Mean and scale as said for every `LocationScale`. Dinh, Krueger & Bengio, NICE (2014).

    >>> round(float(Logistic().log_prob(ops.zeros((1, 1)))[0]), 4)  # -2 ln 2
    -1.3863
    """

    def standard_log_density(self, eps: Any) -> Any:
        return log_sigmoid(eps) + log_sigmoid(-eps)

    def standard_sample(self, shape: Any, seed: int) -> Any:
        # Uniform numbers stay away from 0 and 1, where the logit is infinite.
        edge = 2.0**-24
        u = keras.random.uniform(shape, edge, 1 - edge, dtype=self.compute_dtype, seed=seed)
        return ops.log(u) - ops.log1p(-u)
