"""Masks and splits that are off by one."""

import numpy as np
from keras import ops

from flowkit.bijectors import Coupling
from flowkit.conditioners import MLP
from flowkit.contract import Bijector
from tests.testing.wrong_bijectors.registry import breaks


class WithNetwork(Coupling):
    def __init__(self, conditioner=None, **kwargs):
        super().__init__(conditioner or MLP([4]), **kwargs)


@breaks("round trip", (4,))
class SeesWhatItChanges(WithNetwork):
    """The mask lets through what it should hide."""

    def __init__(self, conditioner=None, **kwargs):
        super().__init__(conditioner, **{**kwargs, "split": "checkerboard"})

    def run(self, x, call, noise=None, derived=None):
        return self._move(x, self._prepare(x, call), call)


@breaks("log-det", (4,))
class LogDetOfTheKept(WithNetwork):
    """The masked entries count too."""

    def __init__(self, conditioner=None, **kwargs):
        super().__init__(conditioner, **{**kwargs, "split": "checkerboard"})

    def run(self, x, call, noise=None, derived=None):
        z, log_det = super().run(x, call, noise, derived)
        keep = ops.cast(self._parts.mask(tuple(x.shape[1:])), x.dtype)
        log_scale = self.conditioner(x * keep)[..., ::2]
        return z, log_det + ops.sum(log_scale * keep, axis=-1) * (-1 if call.inverse else 1)


@breaks("round trip", (4,))
class SplitOffByOne(WithNetwork):
    """The inverse puts the halves back in the other order."""

    def run(self, x, call, noise=None, derived=None):
        if call.inverse:
            x = ops.roll(x, 1, axis=-1)
        return super().run(x, call, noise, derived)


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


@breaks("round trip", (4,))
class OnePassTooFew(Autoregressive):
    def _inverse(self, z):
        x = z
        for _ in range(z.shape[-1] - 2):
            x = z * ops.exp(-self._log_scale(x))
        return x, -ops.sum(self._log_scale(x), axis=-1)
