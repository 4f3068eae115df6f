"""What all linear layers have in common: a matrix and a bias at every place of an event."""

from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.bijectors.fixed import rng
from flowkit.bijectors.places import places
from flowkit.contract import Bijector, BijectorSpec
from flowkit.contract.arguments import Seed, words
from flowkit.numerics import matmul


class Linear(Bijector):
    """z = x W + b at every place of an event of any rank, log-det = places * log|det W|; the last axis is multiplied.

    `init` is where it starts: the "identity", or "random", a random rotation drawn from `seed`. `bias` adds a learned
    b, from zero.

    A subclass makes its weights in `_build(channels)`, and gives W and its inverse by `matrix(inverse)` and
    log|det W| by `log_abs_det()`, all from the weights alone.
    """

    spec = BijectorSpec(log_det="constant")

    def __init__(
        self,
        *,
        init: Annotated[str, words("identity", "random")] = "identity",
        bias: bool = False,
        seed: Seed | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.init, self.use_bias, self.seed = init, bias, seed

    def build(self, x_shape: Any) -> None:
        self._build(x_shape[-1])
        if self.use_bias:
            self.bias = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="bias")

    def _build(self, channels):
        raise NotImplementedError

    def _learned(self, name, value):
        """A weight that starts at `value`, a numpy array."""
        return self.add_weight(
            shape=value.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.array(value), dtype=dtype),
            name=name,
        )

    def _drawn(self, *shape):
        """Standard normal numbers, those of the seed."""
        return rng(self.seed).normal(size=shape)

    def matrix(self, inverse: bool = False) -> Any:
        """W of z = x W + b, or its inverse, (channels, channels)."""
        raise NotImplementedError

    def log_abs_det(self) -> Any:
        """log|det W|, a scalar."""
        raise NotImplementedError

    def factors(self, inverse: bool = False) -> tuple[Any, ...]:
        """What x is multiplied with, one after the other; the matrix, unless a subclass has something quicker."""
        return (self.matrix(inverse),)

    def _times(self, x, factors):
        """x W, or x times the inverse of W, by its `factors`."""
        return matmul(x, factors[0])

    def _derive(self, x_shape, inverse):
        log_det = places(x_shape) * self.log_abs_det()
        return {
            "factors": self.factors(inverse),
            "bias": self.bias.value if self.use_bias else None,
            "log_det": -log_det if inverse else log_det,
        }

    def _forward(self, x, derived):
        z = self._times(x, derived["factors"])
        return z if derived["bias"] is None else z + derived["bias"], derived["log_det"]

    def _inverse(self, z, derived):
        z = z if derived["bias"] is None else z - derived["bias"]
        return self._times(z, derived["factors"]), derived["log_det"]


def eye(size: int, like: Any) -> Any:
    """The identity matrix in the type of `like`."""
    return ops.eye(size, dtype=like.dtype)


def triangle(weight: Any, values: Any) -> Any:
    """What a square weight holds above its diagonal, with `values` on the diagonal."""
    return ops.triu(weight, 1) + eye(weight.shape[-1], weight) * values[..., None, :]
