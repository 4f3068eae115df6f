"""Invertible 1x1 convolution: a learned matrix across the channels."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.weights import new_weight, rng
from flowkit.contract import Bijector, BijectorSpec
from flowkit.contract.arguments import Seed
from flowkit.contract.shapes import places
from flowkit.engines import engine
from flowkit.numerics import matmul


@keras.saving.register_keras_serializable("flowkit")
class Conv1x1(Bijector):
    """z = x W at every place of the event, log-det = places * log|det W|; W starts as a random rotation.

    `lu=True`: W = P (L + I) (U + diag(sign * exp(log_s))) with P and sign fixed, L strictly lower and
    U strictly upper triangular. It cannot become singular, and log|det W| = sum(log_s).
    `lu=False`: the plain W of the published code.

    Works for events of any rank, the last axis being the channels. Kingma & Dhariwal, Glow (2018),
    section 3.2.

    >>> x = ops.ones((2, 8, 8, 12))
    >>> z, log_det = Conv1x1(seed=0)(x)
    >>> bool(ops.max(ops.abs(log_det)) < 1e-3)  # a rotation keeps volumes
    True
    """

    spec = BijectorSpec(log_det="constant")

    def __init__(self, *, lu: bool = True, seed: Seed | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lu, self.seed = lu, seed

    def build(self, x_shape: Any) -> None:
        c = x_shape[-1]
        rotation = np.linalg.qr(rng(self.seed).normal(size=(c, c)))[0]
        if not self.lu:
            self.kernel = new_weight(self, "W", rotation)
            return
        permutation, lower, upper = plu(rotation)
        diagonal = np.diag(upper)
        self.lower = new_weight(self, "L", np.tril(lower, -1))
        self.upper = new_weight(self, "U", np.triu(upper, 1))
        self.log_s = new_weight(self, "log_s", np.log(np.abs(diagonal)))
        self.permutation = new_weight(self, "P", permutation, trainable=False)
        self.sign = new_weight(self, "sign", np.sign(diagonal), trainable=False)

    def _triangles(self):
        """L + I and U + diag(sign * exp(log_s)); what the weights hold on the other side is not used."""
        one = ops.eye(self.log_s.shape[-1], dtype=self.compute_dtype)
        diagonal = self.sign.value * ops.exp(self.log_s.value)
        return ops.tril(self.lower.value, -1) + one, ops.triu(self.upper.value, 1) + one * diagonal[
            ..., None, :
        ]

    def matrix(self) -> Any:
        """W, shape (channels, channels)."""
        if not self.lu:
            return engine.tensor(self.kernel)
        lower, upper = self._triangles()
        return matmul(self.permutation.value, matmul(lower, upper))

    def assign(self, matrix: Any) -> None:
        """Set W to `matrix`, (channels, channels), factored anew if `lu`. Raises ValueError for a singular one."""
        if not np.isfinite(np.linalg.slogdet(ops.convert_to_numpy(matrix).astype("float64"))[1]):
            raise ValueError("Conv1x1.assign expects a matrix that can be inverted, received a singular one.")
        if not self.lu:
            self.kernel.assign(matrix)
            return
        permutation, lower, upper = plu(matrix)
        diagonal = np.diag(upper)
        self.permutation.assign(permutation)
        self.lower.assign(np.tril(lower, -1))
        self.upper.assign(np.triu(upper, 1))
        self.log_s.assign(np.log(np.abs(diagonal)))
        self.sign.assign(np.sign(diagonal))

    def inverse_matrix(self) -> Any:
        """Return the inverse of W, by two triangular solves if W is factored."""
        if not self.lu:
            return ops.inv(engine.tensor(self.kernel))
        lower, upper = self._triangles()
        half = ops.solve_triangular(lower, ops.swapaxes(engine.tensor(self.permutation), -1, -2), lower=True)
        return ops.solve_triangular(upper, half, lower=False)

    def log_abs_det(self) -> Any:
        """Return log|det W|, a scalar."""
        if self.lu:
            return ops.sum(self.log_s.value, axis=-1)
        # |det W| = |det R|. TensorFlow cannot compile slogdet for XLA, and its logdet takes W to be
        # positive definite; QR works and differentiates on every engine.
        r = ops.qr(engine.tensor(self.kernel))[1]
        return ops.sum(ops.log(ops.abs(ops.diagonal(r, axis1=-2, axis2=-1))), axis=-1)

    def _derive(self, x_shape, inverse):
        if inverse:
            return {"matrix": self.inverse_matrix(), "log_det": -places(x_shape) * self.log_abs_det()}
        return {"matrix": self.matrix(), "log_det": places(x_shape) * self.log_abs_det()}

    def _take_scale(self, derived, scale, log_det, inverse):
        """What is derived, with the scale that the part before leaves in the matrix: a product less for every entry."""
        matrix = derived["matrix"]
        matrix = matrix * scale[..., None, :] if inverse else scale[..., None] * matrix
        return {"matrix": matrix, "log_det": derived["log_det"] + log_det}

    def _forward(self, x, derived=None):
        derived = derived or self._derive(x.shape, inverse=False)
        return matmul(x, derived["matrix"]), derived["log_det"]

    def _inverse(self, z, derived=None):
        derived = derived or self._derive(z.shape, inverse=True)
        return matmul(z, derived["matrix"]), derived["log_det"]


def plu(matrix):
    """P, L, U with P L U = matrix: Gaussian elimination with partial pivoting (numpy has none)."""

    upper = np.array(matrix, np.float64)
    n = len(upper)
    lower, rows = np.zeros((n, n)), np.arange(n)
    for k in range(n):
        pivot = k + np.argmax(np.abs(upper[k:, k]))
        for array in (upper, lower, rows):
            array[[k, pivot]] = array[[pivot, k]]
        lower[k + 1 :, k] = upper[k + 1 :, k] / upper[k, k]
        upper[k + 1 :] -= np.outer(lower[k + 1 :, k], upper[k])
    return np.eye(n)[rows].T, lower + np.eye(n), upper
