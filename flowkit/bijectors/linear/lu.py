"""A matrix as a product of triangles."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.conv1x1 import plu
from flowkit.bijectors.fixed import fixed_weight
from flowkit.bijectors.linear.linear import Linear, eye, triangle
from flowkit.bijectors.scales import raw_scale, scale
from flowkit.numerics import matmul


@keras.saving.register_keras_serializable("flowkit")
class LULinear(Linear):
    """z = x W + b with W = P L U, log-det = places * sum(log|u_ii|), at every place of an event of any rank.

    P is a fixed permutation, L lower triangular with a diagonal of ones, U upper triangular. The sizes of u_ii are
    softplus functions of weights, above 0.001, and their signs are fixed: W cannot become singular. Its inverse is
    two triangular solves.

    `init="random"` starts at a random rotation drawn from `seed`, in place of the identity; `bias` adds a learned b.
    `Conv1x1` is the same map with exp(weights) as the sizes, as published for Glow, and starts at random.

    Raises ValueError for another `init`. Oliva et al., Transformation Autoregressive Networks (2018).

    >>> z, log_det = LULinear()(ops.ones((5, 3)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    pure = True

    def _build(self, channels):
        lower, upper, permutation = np.eye(channels), np.eye(channels), np.eye(channels)
        if self.init == "random":
            rotation = np.linalg.qr(self._drawn(channels, channels))[0]
            permutation, lower, upper = plu(rotation)
        sizes = np.diag(upper)
        self.lower = self._learned("L", np.tril(lower, -1))
        self.upper = self._learned("U", np.triu(upper, 1))
        self.raw = self._learned("raw_diagonal", raw_scale(np.abs(sizes)))
        self.permutation = fixed_weight(self, "P", permutation)
        self.sign = fixed_weight(self, "sign", np.sign(sizes))

    def matrix(self, inverse: bool = False) -> Any:
        """P L U, or its inverse."""
        ones = eye(self.raw.shape[-1], self.raw.value)
        lower = ops.tril(self.lower.value, -1) + ones
        upper = triangle(self.upper.value, self.sign.value * scale(self.raw.value))
        if not inverse:
            return matmul(self.permutation.value, matmul(lower, upper))
        half = ops.solve_triangular(
            lower, ops.swapaxes(ops.convert_to_tensor(self.permutation), -1, -2), lower=True
        )
        return ops.solve_triangular(upper, half, lower=False)

    def log_abs_det(self) -> Any:
        """sum(log|u_ii|)."""
        return ops.sum(ops.log(scale(self.raw.value)), axis=-1)
