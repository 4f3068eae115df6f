"""A matrix as two rotations and a scale between them."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.linear.householder import Even, first_vectors, reflected, reflections
from flowkit.bijectors.linear.linear import Linear
from flowkit.contract.arguments import Positive
from flowkit.numerics import matmul, tanh


@keras.saving.register_keras_serializable("flowkit")
class SVDLinear(Linear):
    """z = x W + b with W = U diag(s) V, log-det = places * sum(log s), at every place of an event of any rank.

    U and V are rotations made of reflections, as in `HouseholderRotation`, each of `reflections` of them. log s =
    bound * tanh(weights / bound), so W stretches by no more than exp(bound) and shrinks by no more, and its condition
    number stays below exp(2 bound). Its inverse is transposes.

    `init="random"` starts at a random rotation drawn from `seed`, in place of the identity; `bias` adds a learned b.

    Raises ValueError for another `init`, an odd number of `reflections`, or a bound that is not above 0. Zhang, Lei &
    Dhillon, Stabilizing Gradients for Deep Neural Networks via Efficient SVD Parameterization (2018).

    >>> z, log_det = SVDLinear()(ops.ones((5, 3)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    pure = True

    def __init__(self, reflections: Even | None = None, *, bound: Positive = 4.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reflections, self.bound = reflections, bound

    def _build(self, channels):
        number = reflections(self.reflections, channels)
        first, second = self._drawn(2, number, channels)
        self.first = self._learned("U", first_vectors(first, self.init))
        self.second = self._learned("V", first_vectors(second, self.init))
        self.raw = self._learned("raw_log_s", np.zeros(channels))

    def _log_s(self):
        return self.bound * tanh(self.raw.value / self.bound)

    def matrix(self, inverse: bool = False) -> Any:
        """U diag(s) V, or its inverse."""
        left, right = reflected(self.first.value), reflected(self.second.value)
        if inverse:
            left, right = ops.swapaxes(right, -1, -2), ops.swapaxes(left, -1, -2)
        log_s = -self._log_s() if inverse else self._log_s()
        return matmul(left * ops.exp(log_s)[..., None, :], right)

    def log_abs_det(self) -> Any:
        """sum(log s)."""
        return ops.sum(self._log_s(), axis=-1)
