"""Masks and splits that are off by one."""

import numpy as np
from keras import ops

from flowkit.contract import Bijector
from tests.testing.wrong_bijectors.registry import breaks


class Autoregressive(Bijector):
    """z_i = x_i exp(s_i) with s = tanh-like(x M), M strictly upper triangular."""

    diagonal = 1

    def build(self, x_shape):
        n = x_shape[-1]
        self.kernel = self.add_weight(shape=(n, n), name="W", initializer="glorot_uniform")
        self.mask = np.triu(np.ones((n, n), "float32"), self.diagonal)

    def _log_scale(self, x):
        h = ops.matmul(x, self.kernel * ops.convert_to_tensor(self.mask, dtype=self.compute_dtype))
        return 2 * ops.sigmoid(h) - 1

    def _forward(self, x):
        s = self._log_scale(x)
        return x * ops.exp(s), ops.sum(s, axis=-1)

    def _inverse(self, z):
        x = z
        for _ in range(z.shape[-1]):
            x = z * ops.exp(-self._log_scale(x))
        return x, -ops.sum(self._log_scale(x), axis=-1)


@breaks("log-det", (4,))
class MaskOnTheDiagonal(Autoregressive):
    """Each entry sees itself."""

    diagonal = 0
