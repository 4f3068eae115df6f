"""Shifts."""

import keras

from flowkit.transforms.transform import Transform


@keras.saving.register_keras_serializable("flowkit")
class Additive(Transform):
    """y = x + shift, whose log-derivative is 0: volumes stay as they are.

    Dinh, Krueger & Bengio, NICE (2014).

    >>> Additive().forward(1.0, 2.0)
    (3.0, 0.0)
    """

    parameters = 1
    log_det = "zero"

    def prepare(self, h):
        return (h[..., 0, :],)

    def forward(self, x, shift):
        return x + shift, 0.0

    def inverse(self, y, shift):
        return y - shift, 0.0
