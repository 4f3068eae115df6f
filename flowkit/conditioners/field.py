"""Velocity fields of continuous flows of vectors."""

from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.conditioners.context import ContextNetwork
from flowkit.conditioners.dense import Activation, Dense
from flowkit.contract import Context, Shape, Tensor
from flowkit.contract.arguments import Widths, whole
from flowkit.engines import engine
from flowkit.numerics import cos, matmul, sin, tanh


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
        widths = [*self.hidden, self.features]
        starts = ["he_normal"] * len(self.hidden) + ["zeros"]
        self.layers = [
            self._dense(size, width, start) for size, width, start in zip(sizes, widths, starts, strict=True)
        ]
        self.gates = []
        if self.squash:
            self.gates = [
                self._dense(time, 2 * width, start) for width, start in zip(widths, starts, strict=True)
            ]
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
            h = self._steered(h, context) if number == 0 else h
            if number == len(self.hidden):
                break
            if pushed is None:
                h = self.activation(h)
            else:
                h, slope = value_and_slope(self.activation, h)
                pushed = pushed * slope
        return h, pushed
