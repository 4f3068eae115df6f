"""Blocks that a `Repeat` runs otherwise than as separate layers."""

import keras
from keras import ops

from flowkit.bijectors import Chain, Elementwise, Repeat
from tests.testing.wrong_bijectors.registry import breaks


@keras.saving.register_keras_serializable("tests")
class CentredScale(Elementwise):
    """Its log-scales add up to 0 over the first axis: that of the entries, or of the copies."""

    def build(self, x_shape):
        self.log_scale = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="log_scale")

    def _derive(self, x_shape, inverse):
        log_scale = self.log_scale.value
        return {"log_scale": log_scale - ops.mean(log_scale, axis=0, keepdims=True)}

    def _forward(self, x, derived):
        return x * ops.exp(derived["log_scale"]), ops.zeros_like(x) + derived["log_scale"]

    def _inverse(self, z, derived):
        return z * ops.exp(-derived["log_scale"]), ops.zeros_like(z) - derived["log_scale"]


@breaks("repeat")
def centred_over_copies():
    return Repeat(Chain([CentredScale()]), 3)
