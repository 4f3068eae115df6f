"""Convolutions in one call of the engine; Glow's layers with a scale in logarithms, which start at zero."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.conditioners.transformer import normal
from flowkit.contract import Shape, Tensor
from flowkit.contract.adaptation import adapted_flag, normalizing
from flowkit.contract.arguments import Count, Positive
from flowkit.contract.conditioner import as_type
from flowkit.contract.configured import Configured
from flowkit.engines import engine
from flowkit.numerics import matmul


class Convolution(Configured, keras.Layer):
    """y = W * x + b, stride 1, same size, in one call of the engine; a subclass may scale y in `_scale` and `_rest`."""

    names = ("W", "b")

    def __init__(self, features: Count | None = None, kernel_size: Count = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.features, self.kernel_size = features, kernel_size

    def build(self, x_shape: Shape, start: str | Callable[..., Any] = "glorot_uniform") -> None:
        if len(x_shape) != 4:
            raise ValueError(
                f"a network of convolutions: got inputs of rank {len(x_shape) - 1}, expected images (h, w, c). Take "
                "conditioners.MLP for vectors."
            )
        shapes = (self.kernel_size, self.kernel_size, x_shape[-1], self.features), (self.features,)
        self.kernel, self.bias = (
            self.add_weight(shape=shape, initializer=initializer, name=name, autocast=False)
            for shape, initializer, name in zip(shapes, (start, "zeros"), self.names, strict=True)
        )

    def run_inside(self, x: Tensor, derived: dict[str, Tensor] | None = None) -> Tensor:
        """Return `self(x)` of a built layer, without Keras's `__call__`."""
        return self.call(as_type(x, self.compute_dtype), derived)

    def call(self, x: Tensor, derived: dict[str, Tensor] | None = None) -> Tensor:
        derived = self._derive(x.shape) if derived is None else derived
        return engine.convolve(x, derived["kernel"], derived["bias"])

    # In the precision of the weights, which is more than that of the convolution under mixed precision. `value`: on
    # torch, arithmetic of Keras's variables takes three times as long as that of tensors.

    def _derive(self, x_shape: Shape) -> dict[str, Any]:
        scale, dtype = self._scale(), self.compute_dtype
        kernel = engine.scaled_kernel(self.kernel.value[..., : x_shape[-1], :], scale)
        return {"kernel": as_type(kernel, dtype), "bias": as_type(self._rest(x_shape, scale), dtype)}

    def _scale(self):
        return engine.constant(np.ones, self.features, like=self.kernel.value)

    def _rest(self, x_shape, scale):
        """Return the part of the output that does not depend on x: (features,), or a map (1, h, w, features)."""
        return self.bias.value * scale

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (*x_shape[:-1], self.features)


class ScaledConv(Convolution):
    """y = (W * [x, edge] + b) exp(factor * logs), stride 1, same size.

    The kernel has one input channel more than x: `edge` is 1 on the ring of zeros that pads the image
    and 0 inside, so that a border can be told from a black pixel (none for 1x1 kernels, or with
    `edge_bias=False`). `zeros=False`: W ~ N(0, 0.05), and `adapt(x)` sets b and logs so that y has
    mean 0 and variance 1 for each channel, an actnorm. `zeros=True`: all weights start at 0, and so
    does y.

    Two affine maps are folded away: the scale goes into the kernel, and the edge channel, which
    does not depend on x, becomes a map that is made once and added.

    As published with Kingma & Dhariwal, Glow (2018): `conv2d` with actnorm, and `conv2d_zeros`.

    >>> y = ScaledConv(8, zeros=True)(ops.ones((2, 5, 5, 3)))
    >>> tuple(y.shape)
    (2, 5, 5, 8)
    """

    takes_derived = True

    def __init__(
        self,
        features: Count | None = None,
        kernel_size: Count = 3,
        *,
        zeros: bool = False,
        edge_bias: bool = True,
        factor: Positive = 3.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(features, kernel_size, **kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"ScaledConv's kernel_size: got {kernel_size}, expected an odd number.")
        self.takes_statistics = not zeros
        self.zeros, self.factor, self.edge_bias = zeros, factor, edge_bias and kernel_size > 1

    def build(self, x_shape: Shape) -> None:
        super().build((*x_shape[:-1], x_shape[-1] + self.edge_bias), "zeros" if self.zeros else normal(0.05))
        self.logs = self.add_weight(shape=(self.features,), initializer="zeros", name="logs", autocast=False)
        if not self.zeros:
            self.flag = adapted_flag(self)

    def answer_to_zeros(self, x_shape: Shape) -> Tensor:
        """Return the output for an image of zeros of `x_shape`: (1, h, w, features)."""
        rest = as_type(self._rest(x_shape, self._scale()), self.compute_dtype)
        return rest if self.edge_bias else ops.broadcast_to(rest, (1, *x_shape[1:3], self.features))

    def _scale(self):
        return ops.exp(self.factor * self.logs.value)

    def _rest(self, x_shape, scale):
        bias = super()._rest(x_shape, scale)
        if not self.edge_bias:
            return bias
        taps = self.kernel.value[..., x_shape[-1], :] * scale[..., None, None, :]  # (..., k, k, features)
        edge = engine.reshape(taps, (*taps.shape[:-3], 1, -1, self.features))
        edges = engine.constant(edge_taps, *x_shape[1:3], self.kernel_size, like=edge)
        # (..., 1, h w, features), so that leading axes of weights go before those of the image.
        rest = matmul(engine.reshape(edges, (1, -1, self.kernel_size**2)), edge) + bias[..., None, None, :]
        return engine.reshape(rest, (*rest.shape[:-2], *x_shape[1:3], self.features))

    def adapt(self, x: Tensor) -> Any:
        """Set bias and logs so that this batch leaves with mean 0 and variance 1. Returns the output."""
        if not self.zeros:
            self.bias.assign(ops.zeros(self.bias.shape))
            self.logs.assign(ops.zeros(self.logs.shape))
            shift, log_scale = normalizing(ops.cast(self(x), self.variable_dtype))
            self.bias.assign(shift)
            self.logs.assign(log_scale / self.factor)
            self.flag.assign(True)
        return self(x)


def edge_taps(height, width, size):
    """Return 1 for taps of a `size` x `size` kernel on the ring of padding, 0 for others, at each place of an image.

    Their shape is (1, height, width, size * size).
    """

    taps = np.arange(size) - size // 2
    row, column = np.arange(height)[:, None] + taps, np.arange(width)[:, None] + taps
    above_or_below, beside = (row < 0) | (row >= height), (column < 0) | (column >= width)
    ring = above_or_below[:, None, :, None] | beside[None, :, None, :]
    return ring.reshape(1, height, width, size * size).astype("float32")


class ScaledDense(Configured, keras.Layer):
    """(batch, k) -> (x W + b) exp(factor * logs), (batch, features); all weights start at 0, and so does it.

    As published with Kingma & Dhariwal, Glow (2018): `linear_zeros`.

    >>> ops.convert_to_numpy(ScaledDense(2)(ops.ones((1, 3)))).tolist()
    [[0.0, 0.0]]
    """

    def __init__(self, features: Count, *, factor: Positive = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.features, self.factor = features, factor

    def build(self, x_shape: Shape) -> None:
        shapes = {"W": (x_shape[-1], self.features), "b": (self.features,), "logs": (self.features,)}
        self.kernel, self.bias, self.logs = (
            self.add_weight(shape=shape, initializer="zeros", name=name) for name, shape in shapes.items()
        )

    def call(self, x: Tensor) -> Tensor:
        return (self._rows(x) + self.bias) * ops.exp(self.factor * self.logs.value)

    def _rows(self, x):
        return matmul(x, self.kernel)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return (*x_shape[:-1], self.features)
