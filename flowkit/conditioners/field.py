"""Velocity fields of continuous flows of vectors."""

from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit.conditioners.context import ContextBias
from flowkit.conditioners.dense import Activation, Dense
from flowkit.contract import Conditioner
from flowkit.contract.arguments import ContextWord, Count, Widths, whole
from flowkit.engines import engine
from flowkit.numerics import cos, sin


def time_features(t: Any, frequencies: int) -> Any:
    """Return cos(pi k t) and sin(pi k t) for k = 1, ..., frequencies: (batch, 2 frequencies).

    >>> tuple(time_features(ops.zeros((5,)), 3).shape)
    (5, 6)
    """
    angles = t[:, None] * engine.constant(_frequencies, frequencies, like=t)
    return ops.concatenate([cos(angles), sin(angles)], axis=-1)


def _frequencies(count):
    return np.pi * np.arange(1, count + 1)


@keras.saving.register_keras_serializable("flowkit")
class Field(Conditioner):
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
        features: Count | None = None,
        activation: Activation = "silu",
        frequencies: Annotated[int, whole(1, 64)] = 3,
        squash: bool = False,
        context: ContextWord = "none",
        num_classes: Count | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(features=features, context=context, num_classes=num_classes, **kwargs)
        self.hidden, self.activation, self.frequencies, self.squash = hidden, activation, frequencies, squash
        self.bias = None
        if context != "none":
            self.bias = ContextBias(self.hidden[0], num_classes=num_classes, dtype=self.dtype_policy)

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        seen, time = x_shape[-1], 2 * self.frequencies
        sizes = [seen if self.squash else seen + time, *self.hidden]
        widths = [*self.hidden, self.features]
        starts = ["glorot_uniform"] * len(self.hidden) + ["zeros"]
        self.layers = [
            self._dense(size, width, start) for size, width, start in zip(sizes, widths, starts, strict=True)
        ]
        self.gates = []
        if self.squash:
            self.gates = [
                self._dense(time, 2 * width, start) for width, start in zip(widths, starts, strict=True)
            ]
        if self.bias is not None:
            self.bias.build(context_shape)

    def _dense(self, size, width, start):
        dense = Dense(width, kernel_initializer=start, dtype=self.dtype_policy)
        dense.build((None, size))
        return dense

    def call(self, x: Any, t: Any, context: Any = None) -> Any:
        time = ops.cast(time_features(t, self.frequencies), self.compute_dtype)
        h = x if self.squash else engine.concatenate([x, time])
        for number, layer in enumerate(self.layers):
            h = layer.call(h)
            if self.squash:
                gate, shift = engine.split(self.gates[number].call(time), (h.shape[-1], h.shape[-1]))
                h = h * ops.sigmoid(gate) + shift
            if number == 0 and context is not None and self.bias is not None:
                h = h + self.bias.call(context, rank=2)
            if number < len(self.hidden):
                h = self.activation(h)
        return h

    def compute_output_shape(self, x_shape: Any, *other_shapes: Any) -> Any:
        return (*x_shape[:-1], self.features)
