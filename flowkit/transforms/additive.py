"""Shifts."""

from typing import Any

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

    def prepare(self, h: Any) -> Any:
        return (h[..., 0, :],)

    def forward(self, x: Any, shift: Any) -> tuple[Any, Any]:
        return x + shift, 0.0

    def inverse(self, y: Any, shift: Any) -> tuple[Any, Any]:
        return y - shift, 0.0
