"""Glow's dense layer: zero at the start, with a scale in logarithms."""

from typing import Any

import keras
from keras import ops

from flowkit.contract.arguments import Count, Positive
from flowkit.contract.configured import Configured
from flowkit.numerics import matmul


@keras.saving.register_keras_serializable("flowkit")
class ScaledDense(Configured, keras.Layer):
    """(batch, k) -> (x W + b) exp(factor * logs), (batch, features); all weights start at 0, and so does it.

    As published with Kingma & Dhariwal, Glow (2018): `linear_zeros`.

    >>> ops.convert_to_numpy(ScaledDense(2)(ops.ones((1, 3)))).tolist()
    [[0.0, 0.0]]
    """

    pure = True

    def __init__(self, features: Count, *, factor: Positive = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.features, self.factor = features, factor

    def build(self, x_shape: Any) -> None:
        shapes = {"W": (x_shape[-1], self.features), "b": (self.features,), "logs": (self.features,)}
        self.kernel, self.bias, self.logs = (
            self.add_weight(shape=shape, initializer="zeros", name=name) for name, shape in shapes.items()
        )

    def call(self, x: Any) -> Any:
        return (matmul(x, self.kernel) + self.bias) * ops.exp(self.factor * self.logs.value)

    def compute_output_shape(self, x_shape: Any) -> Any:
        return (*x_shape[:-1], self.features)
