"""A bijector of one's own: both directions give a pair."""

import math
from typing import Any, assert_type

import numpy as np

from flowkit.bijectors import Chain, Coupling, Inverse
from flowkit.conditioners import MLP
from flowkit.contract import Bijector, BijectorSpec


class Twice(Bijector):
    spec = BijectorSpec(log_det="constant")

    def build(self, x_shape: Any) -> None:
        self.shift = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="shift")

    def _forward(self, x: Any) -> tuple[Any, Any]:
        return 2 * x, math.log(2) * x.shape[-1]

    def _inverse(self, z: Any) -> tuple[Any, Any]:
        return z / 2, -math.log(2) * z.shape[-1]


class Conditional(Bijector):
    spec = BijectorSpec(context="required", noise="forward", likelihood="estimated")

    def _forward(self, x: Any, context: Any, *, noise: Any) -> tuple[Any, Any]:
        return x + context, 0.0

    def _inverse(self, z: Any, context: Any) -> tuple[Any, Any]:
        return z - context, 0.0


x = np.zeros((5, 2), "float32")
bijector = Twice(name="twice")
assert_type(bijector(x), tuple[Any, Any])
z, log_det = bijector(x)
x, log_det = bijector.inverse(z)
assert_type(bijector.inverse(z), tuple[Any, Any])

chain = Chain([bijector, Coupling(MLP([8])), Inverse(Twice())])
z, log_det = chain(x)
assert_type(bijector.spec, BijectorSpec)
