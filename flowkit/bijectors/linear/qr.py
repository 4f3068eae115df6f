"""A matrix as a rotation and a triangle."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.linear.householder import Even, first_vectors, reflected, reflections
from flowkit.bijectors.linear.linear import Linear, triangle
from flowkit.bijectors.scales import scale
from flowkit.numerics import matmul


@keras.saving.register_keras_serializable("flowkit")
class QRLinear(Linear):
    """z = x W + b with W = Q R, log-det = places * sum(log r_ii), at every place of an event of any rank.

    Q = H_1 H_2 ... H_k is a rotation made of reflections, as in `HouseholderRotation`; R is upper triangular, and r_ii
    are softplus functions of weights, above 0.001: W cannot become singular. Its inverse is a transpose and a
    triangular solve.

    `init="random"` starts at a random rotation drawn from `seed`, in place of the identity; `bias` adds a learned b.

    Raises ValueError for another `init` or an odd number of `reflections`. Hoogeboom, van den Berg & Welling, Emerging
    Convolutions for Generative Normalizing Flows (2019).

    >>> z, log_det = QRLinear()(ops.ones((5, 3)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    pure = True

    def __init__(self, reflections: Even | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reflections = reflections

    def _build(self, channels):
        drawn = self._drawn(reflections(self.reflections, channels), channels)
        self.vectors = self._learned("vectors", first_vectors(drawn, self.init))
        self.upper = self._learned("R", np.zeros((channels, channels)))
        self.raw = self._learned("raw_diagonal", np.zeros(channels))

    def matrix(self, inverse: bool = False) -> Any:
        """Q R, or its inverse."""
        rotation = reflected(self.vectors.value)
        upper = triangle(self.upper.value, scale(self.raw.value))
        if inverse:
            return ops.solve_triangular(upper, ops.swapaxes(rotation, -1, -2), lower=False)
        return matmul(rotation, upper)

    def log_abs_det(self) -> Any:
        """sum(log r_ii)."""
        return ops.sum(ops.log(scale(self.raw.value)), axis=-1)
