"""Linear maps of the channels: products of triangles, and exponentials."""

import math
from typing import Annotated, Any

import numpy as np
from keras import ops
from scipy import linalg

from flowkit.bijectors.weights import new_weight, rng
from flowkit.contract import Bijector, BijectorSpec, Shape, Tensor
from flowkit.contract.arguments import Seed, words
from flowkit.engines import engine

Start = Annotated[str, words("identity", "random")]

FLOOR = 1e-3
_UNIT = math.log(math.expm1(1))  # softplus of it is 1


def scale(raw: Any) -> Any:
    """Return FLOOR + (1 - FLOOR) softplus(raw + c): above FLOOR, 1 at 0, and about raw if that is large.

    >>> float(scale(ops.zeros(())))
    1.0
    """
    return FLOOR + (1 - FLOOR) * engine.softplus(raw + _UNIT)


def raw_scale(value: np.ndarray) -> np.ndarray:
    """Return the raw numbers of which `scale` makes `value`, a numpy array above FLOOR."""
    return np.log(np.expm1((value - FLOOR) / (1 - FLOOR))) - _UNIT


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
        init: Start = "identity",
        bias: bool = False,
        seed: Seed | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.init, self.use_bias, self.seed = init, bias, seed

    def build(self, x_shape: Shape) -> None:
        self._build(x_shape[-1])
        if self.use_bias:
            self.bias = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="bias")

    def _drawn(self, *shape):
        """Return standard normal numbers from the seed."""
        return rng(self.seed).normal(size=shape)

    def matrix(self, inverse: bool = False) -> Tensor:
        """Return W of z = x W + b, or its inverse, (channels, channels)."""
        raise NotImplementedError

    def log_abs_det(self) -> Tensor:
        """Return log|det W|, a scalar: the sum of the logarithms of `_sizes`, unless a subclass has another formula."""
        return ops.sum(ops.log(self._sizes()), axis=-1)

    def _sizes(self):
        """Return the sizes of the diagonal of a triangular factor, from the weights `raw`."""
        return scale(self.raw.value)

    def factors(self, inverse: bool = False) -> tuple[Any, ...]:
        """Return the factors of x, one after the other: the matrix, unless a subclass has quicker ones."""
        return (self.matrix(inverse),)

    def _times(self, x, factors):
        """Return x W, or x times the inverse of W, by its `factors`."""
        return engine.matmul(x, factors[0])

    def _derive(self, x_shape, inverse):
        log_det = math.prod(x_shape[1:-1]) * self.log_abs_det()
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


def eye(size: int, like: Tensor) -> Any:
    """Return the identity matrix in the type of `like`."""
    return engine.constant(np.eye, size, like=like)


def triangle(weight: Any, values: Any) -> Any:
    """Return what a square weight holds above its diagonal, with `values` on the diagonal."""
    return ops.triu(weight, 1) + eye(weight.shape[-1], weight) * values[..., None, :]


class LULinear(Linear):
    """z = x W + b with W = P L U, log-det = places * sum(log|u_ii|), at every place of an event of any rank.

    P is a fixed permutation, L lower triangular with a diagonal of ones, U upper triangular. The sizes of u_ii are
    softplus functions of weights, above 0.001, and their signs are fixed: W cannot become singular. Its inverse is
    two triangular solves.

    `init="random"` starts at a random rotation drawn from `seed`, in place of the identity; `bias` adds a learned b.
    `Conv1x1` is the same map with exp(weights) as the sizes, as published for Glow, and starts at random.

    Raises ValueError for another `init`. Oliva et al., Transformation Autoregressive Networks (2018).

    >>> z, log_det = LULinear()(ops.ones((5, 3)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    _diagonal = "raw_diagonal"  # the name of the weights that make the sizes of u_ii

    def _build(self, channels):
        values = self._values(*linalg.lu(self._start(channels)))
        self.lower, self.upper, self.raw, self.permutation, self.sign = (
            new_weight(self, name, value, trainable=name not in ("P", "sign"))
            for name, value in values.items()
        )

    def _start(self, channels):
        """Return the W to start from, by `init`."""
        if self.init == "identity":
            return np.eye(channels)
        return np.linalg.qr(self._drawn(channels, channels))[0]

    def _values(self, permutation, lower, upper):
        """Return the values of the weights for factors of W, by name."""
        sizes = np.diag(upper)
        return {
            "L": np.tril(lower, -1),
            "U": np.triu(upper, 1),
            self._diagonal: self._raw_sizes(np.abs(sizes)),
            "P": permutation,
            "sign": np.sign(sizes),
        }

    def assign_factors(self, permutation: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Set W to P L U, given as numpy arrays; L has a diagonal of ones."""
        weights = (self.lower, self.upper, self.raw, self.permutation, self.sign)
        for weight, value in zip(weights, self._values(permutation, lower, upper).values(), strict=True):
            weight.assign(value)

    def _raw_sizes(self, sizes):
        return raw_scale(sizes)

    def matrix(self, inverse: bool = False) -> Tensor:
        """Return P L U, or its inverse. What the weights hold on the other side of a triangle is not used."""
        lower = ops.tril(self.lower.value, -1) + eye(self.raw.shape[-1], self.raw.value)
        upper = triangle(self.upper.value, self.sign.value * self._sizes())
        if not inverse:
            return engine.matmul(self.permutation.value, engine.matmul(lower, upper))
        half = engine.solve_triangular(
            lower, ops.swapaxes(engine.tensor(self.permutation), -1, -2), lower=True
        )
        return engine.solve_triangular(upper, half, lower=False)


SQUARINGS = 12
"""At most so many: exp(M) is exact up to rounding for norms of M up to 2^11, far beyond what fits into float32."""


def exponential(matrix: Tensor) -> Any:
    """Return exp(M) = I + M + M^2 / 2 + ..., by scaling and squaring: the series of M / 2^s, squared s times.

    s is the least with which the largest sum of a column's sizes is at most 1/2, and then 16 terms, grouped by four
    (Paterson & Stockmeyer, 1973), leave less than float64 can show.

    >>> ops.convert_to_numpy(exponential(ops.convert_to_tensor([[0.0, 1.0], [0.0, 0.0]]))).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    size = ops.stop_gradient(ops.max(ops.sum(ops.abs(matrix), axis=-2), axis=-1))[..., None, None]
    # By counting: a logarithm of 0 is none, and rounding of one could miss a power of two.
    squarings = sum(ops.cast(size > 0.5 * 2**k, matrix.dtype) for k in range(SQUARINGS))
    scaled = matrix * ops.exp(-math.log(2.0) * squarings)
    powers = [eye(matrix.shape[-1], matrix), scaled]
    for _ in range(3):
        powers.append(engine.matmul(powers[-1], scaled))
    *powers, fourth = powers
    total = ops.zeros_like(matrix)
    for start in (12, 8, 4, 0):
        total = engine.matmul(total, fourth) + sum(
            p * (1.0 / math.factorial(start + k)) for k, p in enumerate(powers)
        )
    # Squarings that are not needed come first, where their result, which is not taken, cannot overflow.
    for left in range(SQUARINGS, 0, -1):
        total = ops.where(squarings >= left, engine.matmul(total, total), total)
    return total


class MatrixExponential(Linear):
    """z = x W + b with W = exp(M), log-det = places * trace(M) exactly, at every place of an event of any rank.

    M is any matrix, so nothing can make W singular; its inverse is exp(-M). W has a positive determinant. Both are
    computed by scaling and squaring.

    `init="random"` starts at a random rotation drawn from `seed`, the exponential of an antisymmetric matrix, in place
    of the identity; `bias` adds a learned b.

    Raises ValueError for another `init`. Hoogeboom et al., The Convolution Exponential and Generalized Sylvester Flows
    (2020); Xiao & Liu, Generative Flows with Matrix Exponential (2020).

    >>> z, log_det = MatrixExponential()(ops.ones((5, 3)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    def _build(self, channels):
        start = np.zeros((channels, channels))
        if self.init == "random":
            drawn = self._drawn(channels, channels)
            start = (drawn - drawn.T) / math.sqrt(channels)
        self.exponent = new_weight(self, "M", start)

    def matrix(self, inverse: bool = False) -> Tensor:
        """Return exp(M), or exp(-M)."""
        exponent = engine.tensor(self.exponent)
        return exponential(-exponent if inverse else exponent)

    def log_abs_det(self) -> Tensor:
        """Return trace(M)."""
        return ops.sum(ops.diagonal(engine.tensor(self.exponent), axis1=-2, axis2=-1), axis=-1)
