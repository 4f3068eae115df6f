"""The exponential of a matrix."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.linear.linear import Linear, eye
from flowkit.numerics import matmul

SQUARINGS = 12
"""At most so many: exp(M) is exact up to rounding for norms of M up to 2^11, far beyond what fits into float32."""


def exponential(matrix: Any) -> Any:
    """exp(M) = I + M + M^2 / 2 + ..., by scaling and squaring: the series of M / 2^s, squared s times.

    s is the least with which the largest sum of a column's sizes is at most 1/2, and then 16 terms, grouped by four
    (Paterson & Stockmeyer, 1973), leave less than float64 can show.

    >>> ops.convert_to_numpy(exponential(ops.convert_to_tensor([[0.0, 1.0], [0.0, 0.0]]))).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    size = ops.stop_gradient(ops.max(ops.sum(ops.abs(matrix), axis=-2), axis=-1))[..., None, None]
    # By counting: a logarithm of 0 is none, and rounding of one could miss a power of two.
    squarings = sum(ops.cast(size > 0.5 * 2**k, matrix.dtype) for k in range(SQUARINGS))
    scaled = matrix * ops.exp(-math.log(2.0) * squarings)
    powers = [eye(matrix.shape[-1], matrix), scaled]
    for _ in range(3):
        powers.append(matmul(powers[-1], scaled))
    *powers, fourth = powers
    total = ops.zeros_like(matrix)
    for start in (12, 8, 4, 0):
        total = matmul(total, fourth) + sum(
            p * (1.0 / math.factorial(start + k)) for k, p in enumerate(powers)
        )
    # Squarings that are not needed come first, where their result, which is not taken, cannot overflow.
    for left in range(SQUARINGS, 0, -1):
        total = ops.where(squarings >= left, matmul(total, total), total)
    return total


@keras.saving.register_keras_serializable("flowkit")
class MatrixExponential(Linear):
    """z = x W + b with W = exp(M), log-det = places * trace(M) exactly, at every place of an event of any rank.

    M is any matrix, so nothing can make W singular; its inverse is exp(-M). W has a positive determinant. Both are
    computed by scaling and squaring.

    `init="random"` starts at a random rotation drawn from `seed`, the exponential of an antisymmetric matrix, in place
    of the identity; `bias` adds a learned b.

    Raises ValueError for another `init`. Hoogeboom et al., The Convolution Exponential and Generalized Sylvester Flows
    (2020); Xiao & Liu, Generative Flows with Matrix Exponential (2020).

    >>> z, log_det = MatrixExponential()(ops.ones((5, 3)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    pure = True

    def _build(self, channels):
        start = np.zeros((channels, channels))
        if self.init == "random":
            drawn = self._drawn(channels, channels)
            start = (drawn - drawn.T) / math.sqrt(channels)
        self.exponent = self._learned("M", start)

    def matrix(self, inverse: bool = False) -> Any:
        """exp(M), or exp(-M)."""
        exponent = ops.convert_to_tensor(self.exponent)
        return exponential(-exponent if inverse else exponent)

    def log_abs_det(self) -> Any:
        """trace(M)."""
        return ops.sum(ops.diagonal(ops.convert_to_tensor(self.exponent), axis1=-2, axis2=-1), axis=-1)
