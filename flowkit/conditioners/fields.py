"""Velocity fields of continuous flows, of vectors and of images."""

from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.conditioners.context import ContextNetwork
from flowkit.conditioners.mlp import Activation, Dense
from flowkit.conditioners.scaled import Convolution
from flowkit.conditioners.transformer import join_heads, split_heads
from flowkit.contract import Context, Shape, Tensor
from flowkit.contract.arguments import Count, Widths, whole
from flowkit.contract.conditioner import as_type
from flowkit.contract.errors import shape_error
from flowkit.engines import engine
from flowkit.numerics import cos, matmul, maximum, mean, sin, tanh


def time_features(t: Tensor, frequencies: int) -> Any:
    """Return cos(pi k t) and sin(pi k t) for k = 1, ..., frequencies: (batch, 2 frequencies).

    >>> tuple(time_features(ops.zeros((5,)), 3).shape)
    (5, 6)
    """
    angles = t[:, None] * engine.constant(_frequencies, frequencies, like=t)
    return ops.concatenate([cos(angles), sin(angles)], axis=-1)


def _frequencies(count):
    return np.pi * np.arange(1, count + 1)


def value_and_slope(activation: Any, h: Tensor) -> tuple[Any, Any]:
    """Return (f(h), f'(h)) of an activation f of each entry.

    >>> value, slope = value_and_slope(keras.activations.tanh, ops.zeros((1, 1)))
    >>> float(value[0, 0]), float(slope[0, 0])
    (0.0, 1.0)
    """
    if activation is keras.activations.tanh:
        value = tanh(h)
        return value, 1 - value * value
    if activation is keras.activations.silu:
        gate = ops.sigmoid(h)
        value = h * gate
        return value, gate + value * (1 - gate)
    value, (slope,) = engine.jacobian_products(activation, h, [ops.ones_like(h)])
    return value, slope


class TimeNetwork(ContextNetwork):
    """Base class of networks v(x, t), which see cos(pi k t) and sin(pi k t), k = 1, ..., `frequencies`."""

    frequencies: int

    def __call__(self, x: Tensor, t: Tensor, *more: Any, **options: Any) -> Tensor:
        # Before Keras casts its inputs: times in bfloat16 are up to 1/256 apart.
        return super().__call__(x, self._features_of(t), *more, **options)

    def _features_of(self, t):
        """Return the features of times (batch,), in the precision of the network; those of features are the same."""
        found = t if len(t.shape) == 2 else time_features(t, self.frequencies)
        return ops.cast(found, self.compute_dtype)


class Field(TimeNetwork):
    """v(x, t) for `flowkit.bijectors.Continuous`: dense layers of the given widths, the last of which starts at zero.

    The first layer reads x beside cos(pi k t) and sin(pi k t), k = 1, ..., `frequencies`. With `squash` each layer is
    (W x + b) sigmoid(G s) + U s instead, s the features of the time (concatsquash, as in FFJORD). A context enters
    as a bias of the first layer: vectors (batch, k), or labels (batch,) with `num_classes`.

    Take a smooth `activation`: a solver needs small steps where v has kinks, as with "relu".

    >>> field = Field([16, 16], features=3)
    >>> tuple(field(ops.ones((4, 3)), ops.zeros((4,))).shape)
    (4, 3)
    """

    event_rank = 1

    def __init__(
        self,
        hidden: Widths = (64, 64),
        *,
        activation: Activation = "silu",
        frequencies: Annotated[int, whole(1, 64)] = 3,
        squash: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden, self.activation, self.frequencies, self.squash = hidden, activation, frequencies, squash
        self.bias = self._context_bias(self.hidden[0])

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        seen, time = x_shape[-1], 2 * self.frequencies
        sizes = [seen if self.squash else seen + time, *self.hidden]
        ends = [*((width, "he_normal") for width in self.hidden), (self.features, "zeros")]
        self.layers = [self._dense(size, *end) for size, end in zip(sizes, ends, strict=True)]
        self.gates = [self._dense(time, 2 * width, start) for width, start in ends] if self.squash else []
        super().build(x_shape, context_shape)

    def _dense(self, size, width, start):
        dense = Dense(width, kernel_initializer=start, dtype=self.dtype_policy)
        dense.build((None, size))
        return dense

    def call(self, x: Tensor, t: Tensor, context: Context = None) -> Tensor:
        return self._through(x, t, context)[0]

    def jacobian_products(
        self, x: Tensor, t: Tensor, directions: Tensor, context: Context = None
    ) -> tuple[Any, Any]:
        """Return (v, J e for each direction e), J = dv/dx of each sample; `directions` are (k, batch or 1, features).

        All directions go through the layers beside x, in half the time that PyTorch takes by reverse mode.
        """
        return self._through(x, t, context, directions)

    def _through(self, x, t, context, pushed=None):
        """Return (v, J e), or (v, None) without directions."""
        time = self._features_of(t)
        h = x if self.squash else engine.concatenate([x, time])
        for number, layer in enumerate(self.layers):
            derived = layer.derive()
            h = layer.call(h, derived)
            if pushed is not None:  # of the first kernel the rows that read x, not those of the time
                pushed = matmul(pushed, derived["kernel"][: pushed.shape[-1]])
            if self.squash:
                gate, shift = engine.split(self.gates[number].call(time), (h.shape[-1], h.shape[-1]))
                gate = ops.sigmoid(gate)
                h = h * gate + shift
                pushed = None if pushed is None else pushed * gate
            h = self._add_context(h, context) if number == 0 else h
            if number == len(self.hidden):
                break
            if pushed is None:
                h = self.activation(h)
            else:
                h, slope = value_and_slope(self.activation, h)
                pushed = pushed * slope
        return h, pushed


def normalize_groups(x: Tensor, groups: int, scale: Tensor = 0.0, shift: Tensor = 0.0) -> Any:
    """Return y (1 + scale) + shift, where y is x with mean 0 and variance 1 over each group of channels of a sample.

    x is (batch, h, w, c); `scale` and `shift` are (batch, c). Wu & He, Group Normalization (2018).

    >>> x = keras.random.normal((2, 4, 4, 6), seed=0)
    >>> float(ops.std(normalize_groups(x, 3))) > 0.99
    True
    """
    own, share = keras.backend.standardize_dtype(x.dtype), x.shape[-1] // groups
    if own.endswith("float16"):
        x, scale, shift = (ops.cast(given, "float32") for given in (x, scale, shift))
    # Small tensors hold the statistics, so that few operations pass over x.
    first, second = (
        mean(engine.reshape(mean(power, axis=(1, 2)), (-1, groups, share)), axis=-1) for power in (x, x * x)
    )
    variance = second - first * first
    inverse = ops.rsqrt(maximum(variance, 0 * variance) + 1e-5)  # rounding may take it below 0
    # Axis 1: PyTorch's exporter to ONNX adds the rank to an axis of -1 in place, and so to other constants of -1.
    factor = ops.repeat(inverse, share, axis=1) * (1 + scale)
    offset = shift - ops.repeat(first, share, axis=1) * factor
    return as_type(x * factor[:, None, None] + offset[:, None, None], own)


class _Convolution(Convolution):
    """A convolution with Keras's names of weights, whose own has no second derivatives for one output on PyTorch."""

    names = ("kernel", "bias")


class _Part(keras.Layer):
    """A part of a U-Net, built for a number of channels."""

    def __init__(self, width, groups, dtype):
        super().__init__(dtype=dtype)
        self.width, self.groups = width, groups

    def _convolution(self, channels, kernel_initializer="glorot_uniform"):
        layer = _Convolution(self.width, dtype=self.dtype_policy)
        layer.build((None, None, None, channels), kernel_initializer)
        return layer

    def _dense(self, channels, width, kernel_initializer="glorot_uniform"):
        layer = Dense(width, kernel_initializer=kernel_initializer, dtype=self.dtype_policy)
        layer.build((None, channels))
        return layer


class _Residual(_Part):
    """x + convolutions of x, the second of which starts at zero; features of the time scale and shift between them."""

    def build(self, channels, features):
        self.first = self._convolution(channels)
        self.second = self._convolution(self.width, "zeros")
        self.modulation = self._dense(features, 2 * self.width, "zeros")
        self.skip = None if channels == self.width else self._dense(channels, self.width)

    def call(self, x, features):
        h = self.first.call(ops.silu(normalize_groups(x, self.groups)))
        scale, shift = engine.split(self.modulation.call(features), (self.width, self.width))
        h = normalize_groups(h, self.groups, scale, shift)
        return (x if self.skip is None else self.skip.call(x)) + self.second.call(ops.silu(h))


class _Attention(_Part):
    """x + what each place reads of all places (one head); starts at zero."""

    def build(self):
        self.read = self._dense(self.width, 3 * self.width)
        self.last = self._dense(self.width, self.width, "zeros")

    def call(self, x):
        shape = x.shape
        places = engine.reshape(normalize_groups(x, self.groups), (-1, shape[1] * shape[2], shape[3]))
        # Divergences take the derivative of this, and training that of the divergence.
        seen = join_heads(engine.attend(*split_heads(self.read.call(places), 3, 1), twice=True))
        return x + engine.reshape(self.last.call(seen), (-1, *shape[1:]))


class UNet(TimeNetwork):
    """v(x, t) of images for `flowkit.bijectors.Continuous`: (batch, h, w, c) -> (batch, h, w, features), 0 at first.

    `hidden` are the channels at each resolution, each half of the one before: sides are multiples of
    2^(len(hidden) - 1). On the way down and on the way up each has `blocks` residual blocks of two 3x3 convolutions
    with normalised groups of channels (`groups` of them); the way up also reads the way down. At the lowest resolution
    each place attends to all. cos(pi k t) and sin(pi k t), k = 1, ..., `frequencies`, scale and shift inside of the
    blocks, and so does a context: labels (batch,) with `num_classes`, or vectors (batch, k).

    Raises ValueError for channels that `groups` does not divide, ContractError for other sides. Ronneberger, Fischer &
    Brox, U-Net (2015); Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models (2020).

    >>> field = UNet([8, 16], features=1)
    >>> tuple(field(ops.ones((4, 6, 6, 1)), ops.zeros((4,))).shape)
    (4, 6, 6, 1)
    """

    event_rank = 3

    def __init__(
        self,
        hidden: Widths = (64, 64),
        *,
        blocks: Count = 1,
        groups: Count = 8,
        frequencies: Annotated[int, whole(1, 64)] = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden, self.blocks, self.groups, self.frequencies = hidden, blocks, groups, frequencies
        if not hidden or any(width % groups for width in hidden):
            raise ValueError(
                f"UNet's hidden: got {list(hidden)}, expected channels for at least one resolution, multiples of "
                f"groups={groups}. Change hidden or groups."
            )
        self.bias = self._context_bias(hidden[-1])

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        multiple = self._check_sides(x_shape)
        part = _Part(self.hidden[-1], self.groups, self.dtype_policy)
        self.time = part._dense(2 * self.frequencies, part.width)
        self.time_again = part._dense(part.width, part.width)
        self.first = _Part(self.hidden[0], self.groups, self.dtype_policy)._convolution(x_shape[-1])
        channels, self.down, self.up = self.hidden[0], [], []
        for width in self.hidden:
            self.down.append(self._residuals(channels, width))
            channels = width
        self.attention = None
        if any(side > multiple for side in x_shape[1:3]):  # more than one place at the lowest resolution
            self.attention = _Attention(channels, self.groups, self.dtype_policy)
            self.attention.build()
        self.middle = self._residuals(channels, channels)
        for width in reversed(self.hidden[:-1]):
            self.up.append(self._residuals(channels + width, width))
            channels = width
        self.last = _Part(self.features, 1, self.dtype_policy)._convolution(channels, "zeros")
        super().build(x_shape, context_shape)

    def _check_sides(self, x_shape):
        """Return what sides must be multiples of; raise ContractError for others, whose halves would mix samples."""
        multiple = 2 ** (len(self.hidden) - 1)
        if any(side is None or side % multiple for side in x_shape[1:3]):
            expected = f"images whose sides are multiples of {multiple}, for {len(self.hidden)} resolutions"
            hint = "Pass fewer numbers in hidden=, or images of another size."
            raise shape_error(self, expected, tuple(x_shape), hint)
        return multiple

    def _residuals(self, channels, width):
        made = []
        for number in range(self.blocks):
            block = _Residual(width, self.groups, self.dtype_policy)
            block.build(width if number else channels, self.hidden[-1])
            made.append(block)
        return made

    def call(self, x: Tensor, t: Tensor, context: Context = None) -> Tensor:
        self._check_sides(x.shape)
        features = self._add_context(self.time.call(self._features_of(t)), context)
        features = ops.silu(self.time_again.call(ops.silu(features)))
        h, kept = self.first.call(x), []
        for number, blocks in enumerate(self.down):
            if number:
                h = halved(h)
            for block in blocks:
                h = block.call(h, features)
            kept.append(h)
        h = kept.pop()
        if self.attention is not None:
            h = self.attention.call(h)
        for block in self.middle:
            h = block.call(h, features)
        for blocks in self.up:
            h = ops.repeat(ops.repeat(h, 2, axis=1), 2, axis=2)
            h = engine.concatenate([h, kept.pop()])
            for block in blocks:
                h = block.call(h, features)
        return self.last.call(ops.silu(normalize_groups(h, self.groups)))


def halved(x: Tensor) -> Any:
    """Return the means of blocks of 2 x 2 places: (batch, h, w, c) -> (batch, h / 2, w / 2, c).

    >>> tuple(halved(ops.ones((1, 4, 6, 3))).shape)
    (1, 2, 3, 3)
    """
    _, h, w, c = x.shape
    return mean(engine.reshape(x, (-1, h // 2, 2, w // 2, 2, c)), axis=(2, 4))
