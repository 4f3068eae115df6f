"""Rotations by Cayley's transform."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.linear.linear import Linear, eye
from flowkit.contract import BijectorSpec


@keras.saving.register_keras_serializable("flowkit")
class CayleyRotation(Linear):
    """z = x Q + b with a rotation Q = (I - A) (I + A)^-1, A = M - M^T; log-det = 0.

    I + A can always be inverted, as A is antisymmetric. Every rotation that turns no plane by half a turn is reached;
    Q's inverse is its transpose.

    `init="random"` starts at a random rotation drawn from `seed`, in place of the identity; `bias` adds a learned b.
    Events have any rank; the last axis is turned.

    Raises ValueError for another `init`. Cayley (1846); Golinski, Lezcano-Casado & Rainforth, Improving Normalizing
    Flows via Better Orthogonal Parameterizations (2019).

    >>> z, log_det = CayleyRotation(init="random", seed=0)(ops.ones((1, 4)))
    >>> round(float(ops.sum(z * z)), 4)  # a rotation keeps lengths
    4.0
    """

    pure = True
    spec = BijectorSpec(log_det="zero")

    def _build(self, channels):
        start = np.zeros((channels, channels))
        if self.init == "random":
            start = self._drawn(channels, channels) / np.sqrt(channels)
        self.raw = self._learned("M", start)

    def matrix(self, inverse: bool = False) -> Any:
        """Q, or its transpose."""
        raw = ops.convert_to_tensor(self.raw)
        skew = raw - ops.swapaxes(raw, -1, -2)
        one = eye(raw.shape[-1], raw)
        # With -A in place of A comes the transpose; both factors commute.
        skew = -skew if inverse else skew
        return ops.solve(one + skew, one - skew)

    def log_abs_det(self) -> Any:
        """0.0, as of every rotation."""
        return 0.0
