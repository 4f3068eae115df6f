"""Invertible 1x1 convolution: a learned matrix across the channels."""

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import linalg

from flowkit.bijectors.linear import LULinear, Start
from flowkit.bijectors.weights import new_weight
from flowkit.contract import Tensor
from flowkit.contract.arguments import Seed
from flowkit.engines import engine


class Conv1x1(LULinear):
    """z = x W at every place of the event, log-det = places * log|det W|; W starts as a random rotation.

    `lu=True`: W = P (L + I) (U + diag(sign * exp(log_s))) with P and sign fixed, L strictly lower and
    U strictly upper triangular. It cannot become singular, and log|det W| = sum(log_s).
    `lu=False`: the plain W of the published code. `init="identity"` starts there in place of the rotation.

    Works for events of any rank, the last axis being the channels. Kingma & Dhariwal, Glow (2018),
    section 3.2.

    >>> x = ops.ones((2, 8, 8, 12))
    >>> z, log_det = Conv1x1(seed=0)(x)
    >>> bool(ops.max(ops.abs(log_det)) < 1e-3)  # a rotation keeps volumes
    True
    """

    _diagonal = "log_s"

    def __init__(
        self, *, lu: bool = True, init: Start = "random", seed: Seed | None = None, **kwargs: Any
    ) -> None:
        super().__init__(init=init, bias=False, seed=seed, **kwargs)
        self.lu = lu

    def _build(self, channels):
        if self.lu:
            super()._build(channels)
        else:
            self.kernel = new_weight(self, "W", self._start(channels))

    @property
    def log_s(self) -> keras.Variable:
        """Return the logarithms of the diagonal of U, if W is factored."""
        return self.raw

    def _sizes(self):
        return ops.exp(self.raw.value)

    def _raw_sizes(self, sizes):
        return np.log(sizes)

    def matrix(self, inverse: bool = False) -> Tensor:
        """Return W, or its inverse, by two triangular solves if W is factored."""
        if self.lu:
            return super().matrix(inverse)
        return ops.inv(engine.tensor(self.kernel)) if inverse else engine.tensor(self.kernel)

    def log_abs_det(self) -> Tensor:
        """Return log|det W|, a scalar."""
        if self.lu:
            return ops.sum(self.raw.value, axis=-1)
        # |det W| = |det R|. TensorFlow cannot compile slogdet for XLA, and its logdet takes W to be
        # positive definite; QR works and differentiates on every backend.
        r = ops.qr(engine.tensor(self.kernel))[1]
        return ops.sum(ops.log(ops.abs(ops.diagonal(r, axis1=-2, axis2=-1))), axis=-1)

    def assign(self, matrix: Tensor) -> None:
        """Set W to `matrix`, (channels, channels), factored anew if `lu`. Raises ValueError for a singular one."""
        matrix = ops.convert_to_numpy(matrix).astype("float64")
        if not np.isfinite(np.linalg.slogdet(matrix)[1]):
            raise ValueError("Conv1x1.assign: got a singular matrix, expected a matrix that can be inverted.")
        if self.lu:
            self.assign_factors(*linalg.lu(matrix))
        else:
            self.kernel.assign(matrix)

    def _take_scale(self, derived, scale, log_det, inverse):
        """Return what is derived, with the scale that the part before leaves in the matrix: one product less."""
        (matrix,) = derived["factors"]
        matrix = matrix * scale[..., None, :] if inverse else scale[..., None] * matrix
        return {**derived, "factors": (matrix,), "log_det": derived["log_det"] + log_det}
