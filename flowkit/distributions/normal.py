"""The standard normal distribution."""

import math

import keras
from keras import ops

from flowkit.contract import sum_event


@keras.saving.register_keras_serializable("flowkit")
class Normal(keras.Layer):
    """log p(z) = -1/2 sum(z^2 + ln 2 pi): independent standard normals, one for each entry of an event.

    >>> round(float(Normal().log_prob(ops.zeros((1, 2)))[0]), 4)
    -1.8379
    """

    context = "none"

    def log_prob(self, z, context=None):
        """(batch,) in nats, for z of shape (batch, *event)."""
        return -0.5 * sum_event(ops.square(z) + math.log(2 * math.pi))

    def sample(self, shape, *, temperature=1.0, seed=None, context=None):
        """Draws of `shape` = (batch, *event); `temperature` multiplies the standard deviation."""
        return temperature * keras.random.normal(shape, dtype=self.compute_dtype, seed=seed)
