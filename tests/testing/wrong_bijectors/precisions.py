"""Layers that only work eagerly, or only in one precision."""

import math

import numpy as np
from keras import ops

from flowkit.bijectors import Scale, Shift
from tests.testing.wrong_bijectors.registry import breaks


@breaks("compiled", says="precisions.py:17, in _forward: `if ops.sum(x) > 1e9:`")
class BranchesOnAValue(Shift):
    """A Python `if` on what a tensor holds."""

    def _forward(self, x):
        if ops.sum(x) > 1e9:
            return x, 0.0
        return super()._forward(x)


@breaks("compiled", says="`for _ in range(int(ops.sum(z * 0)) + 1):`")
class CountsByAValue(Shift):
    """As many rounds as a tensor says."""

    def _inverse(self, z):
        for _ in range(int(ops.sum(z * 0)) + 1):
            x = z - self.shift
        return x, 0.0


@breaks("compiled", says="`scale = math.exp(float(self.log_scale[0]))`")
class PythonNumber(Scale):
    """A weight read as a Python number."""

    def _forward(self, x):
        scale = math.exp(float(self.log_scale[0]))
        return super()._forward(x * scale / scale)


@breaks("compiled")
class CountsTraces(Shift):
    """Answers another way the second time its Python runs."""

    def _forward(self, x):
        self.__dict__["runs"] = self.__dict__.get("runs", 0) + 1
        return super()._forward(x)

    def call(self, x, context=None, inverse=False):
        eager = isinstance(x, np.ndarray) or ("Tracer" not in type(x).__name__ and not _compiling(x))
        z, log_det = super().call(x, context, inverse)
        return (z if eager else z + 0.25), log_det


@breaks("mixed precision", says="log_det of at least float32 under mixed_bfloat16")
class LowScales(Scale):
    """Computes in the global policy's dtype."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._low = "bfloat16" in str(kwargs.get("dtype")) or _global_is_low()

    def call(self, x, context=None, inverse=False):
        z, log_det = super().call(x, context, inverse)
        return z, ops.cast(log_det, "bfloat16") if self._low else log_det


@breaks("mixed precision")
class LowMaths(Shift):
    """The output is rounded to bfloat16 on the way."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._low = _global_is_low()

    def _forward(self, x):
        z = x + self.shift
        return (ops.cast(ops.cast(z, "bfloat16"), z.dtype) if self._low else z), 0.0


@breaks("inverse round trip")
class Float32InFloat64(Shift):
    """Made for float64, with float32 on the way."""

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float64"})

    def _forward(self, x):
        return ops.cast(ops.cast(x, "float32"), x.dtype) + self.shift, 0.0


@breaks("float32")
class WrongInFloat32(Scale):
    """The log-det is off in float32 alone."""

    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, log_det + 1e-3 * (self.compute_dtype == "float32")


def _global_is_low():
    import keras

    return "bfloat16" in keras.config.dtype_policy().name


def _compiling(x):
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return torch.compiler.is_compiling()
    return not hasattr(x, "numpy") if keras.backend.backend() == "tensorflow" else False
