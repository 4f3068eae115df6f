"""The uniform distribution on a box."""

import math
from typing import Any

import keras
from keras import ops

from flowkit.contract import Context, Domain, Tensor, sum_event
from flowkit.contract.arguments import Number
from flowkit.distributions.distribution import Distribution


class Uniform(Distribution):
    """log p(z) = -D ln(high - low) for all D entries of z in [low, high), and -inf otherwise.

    For flows whose last bijector ends in an interval. Raises ValueError unless low < high are finite, and for a
    temperature other than 1: there is no scale that it could multiply.

    >>> round(float(Uniform(0.0, 2.0).log_prob(ops.ones((1, 3)))[0]), 4)  # -3 ln 2
    -2.0794
    """

    def __init__(self, low: Number = 0.0, high: Number = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not low < high:
            raise ValueError(f"Uniform: expected finite numbers low < high, received {low} and {high}.")
        self.low, self.high = low, high
        self.domain = Domain.interval(low, high)

    def log_prob(self, z: Tensor, context: Context = None) -> Tensor:
        """Return log p(z) in nats, (batch,), for z of shape (batch, *event)."""
        inside = ops.logical_and(z >= self.low, z < self.high)
        level = -math.log(self.high - self.low)
        return sum_event(ops.where(inside, ops.full_like(z, level), ops.full_like(z, -math.inf)))

    def _draw(self, shape, temperature, seed, context):
        if not isinstance(temperature, (int, float)) or temperature != 1:
            raise ValueError(
                f"Uniform expects temperature=1, received {temperature!r}: it has no scale to multiply."
            )
        return keras.random.uniform(shape, self.low, self.high, dtype=self.compute_dtype, seed=seed)
