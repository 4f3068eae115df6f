"""Shifts and scales."""

from typing import Annotated, Any

import keras
from keras import ops

from flowkit import backends
from flowkit.contract.arguments import Fraction, Positive, words
from flowkit.transforms.transform import Transform

ORDERS = ("shift-scale", "scale-shift")


@keras.saving.register_keras_serializable("flowkit")
class Affine(Transform):
    """y = (x + shift) * scale, log dy/dx = log scale, with raw numbers (shift, s).

    `scale` is "sigmoid", sigmoid(s + 2) in (0, 1), as published for Glow: raw numbers of 0 multiply by 0.88; or
    "tanh", exp(b tanh(s / b)) in (e^-b, e^b), b the `bound`: raw numbers of 0 are the identity. Both are bounded above;
    the published one has no bound below, so that its inverse can overflow at latents unlike those of the data.
    `min_scale` = m > 0 makes it m + (1 - m) sigmoid(s + 2), whose inverse grows at most by 1/m. `order` says which of
    the two raw numbers comes first ("shift-scale", "scale-shift").

    Raises ValueError for other words, a `min_scale` outside [0, 1), or above 0 with "tanh", and a `bound` that is not
    positive, or is given with "sigmoid". Dinh,
    Sohl-Dickstein & Bengio, Real NVP (2017); Kingma & Dhariwal, Glow (2018).

    >>> affine = Affine("tanh")
    >>> y, log_scale = affine.forward(ops.ones((1, 2)), *affine.prepare(ops.zeros((1, 2, 2))))
    >>> ops.convert_to_numpy(y).tolist()
    [[1.0, 1.0]]
    """

    parameters = 2

    def __init__(
        self,
        scale: Annotated[str, words("sigmoid", "tanh")] = "sigmoid",
        *,
        min_scale: Fraction = 0.0,
        bound: Positive = 2.0,
        order: Annotated[str, words(*ORDERS)] = "shift-scale",
    ) -> None:
        if min_scale and scale != "sigmoid":
            raise ValueError(f"Affine's min_scale: expected 0 for scale='tanh', received {min_scale}.")
        if bound != 2.0 and scale != "tanh":
            raise ValueError(f"Affine's bound: expected 2.0 for scale='sigmoid', received {bound}.")
        self.scale, self.min_scale, self.bound, self.order = scale, min_scale, bound, order

    def prepare(self, h: Any) -> Any:
        first, second = backends.unbind(h)
        shift, s = (first, second) if self.order == "shift-scale" else (second, first)
        return shift, *self._scale_of(s)

    def _scale_of(self, s):
        """(log_scale, scale), each by itself: the exp of a logarithm costs more, and is less exact."""
        if self.scale == "sigmoid" and not self.min_scale:
            return backends.log_sigmoid_and_sigmoid(s + 2)
        if self.scale == "sigmoid":
            scale = self.min_scale + (1 - self.min_scale) * ops.sigmoid(s + 2)
            return ops.log(scale), scale
        return backends.bounded_and_exp(s, self.bound)

    def forward(self, x: Any, shift: Any, log_scale: Any, scale: Any) -> tuple[Any, Any]:
        return (x + shift) * scale, log_scale

    def inverse(self, y: Any, shift: Any, log_scale: Any, scale: Any) -> tuple[Any, Any]:
        return y / scale - shift, -log_scale
