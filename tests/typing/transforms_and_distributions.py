"""A transform and a base density of one's own."""

from typing import Any, assert_type

import keras
import numpy as np
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Autoregressive, Coupling, Pointwise
from flowkit.conditioners import MADE, MLP
from flowkit.distributions import Distribution, Normal, StudentT
from flowkit.transforms import RationalQuadratic, Transform


class Stretch(Transform):
    """y = exp(a) x."""

    parameters = 1

    def prepare(self, h: Any) -> tuple[Any, ...]:
        return (h[..., 0, :],)

    def forward(self, x: Any, *prepared: Any) -> tuple[Any, Any]:
        (a,) = prepared
        return x * ops.exp(a), a

    def inverse(self, y: Any, *prepared: Any) -> tuple[Any, Any]:
        (a,) = prepared
        return y * ops.exp(-a), -a


class Wide(Distribution):
    """A normal of scale 3."""

    def log_prob(self, z: Any, context: Any = None) -> Any:
        return ops.sum(-0.5 * (z / 3) ** 2 - ops.log(3.0) - 0.9189385, axis=-1)

    def sample(
        self, shape: tuple[int, ...], *, temperature: Any = 1.0, seed: Any = None, context: Any = None
    ) -> Any:
        return 3 * temperature * keras.random.normal(shape, seed=seed)


coupling = Coupling(MLP([8]), Stretch())
pointwise = Pointwise(RationalQuadratic(bins=4))
autoregressive = Autoregressive(MADE([8]))
z, log_det = coupling(np.zeros((3, 2), "float32"))
flow = Flow(coupling, Wide())
samples: np.ndarray = flow.sample(3)
assert_type(Flow(pointwise, StudentT(5.0)), Flow)
assert_type(Normal().log_prob(np.zeros((3, 2))), Any)
