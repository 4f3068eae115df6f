"""Bernstein polynomials."""

import math
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.contract.arguments import Positive, whole
from flowkit.numerics import cumsum
from flowkit.transforms.slopes import slopes_of
from flowkit.transforms.solved import StraightTails


@keras.saving.register_keras_serializable("flowkit")
class Bernstein(StraightTails):
    """A polynomial of degree M on [-bound, bound] with increasing coefficients; straight lines outside.

    With u = (x + bound) / (2 bound) and B_k,M(u) = C(M, k) u^k (1 - u)^(M - k):

        y = sum_k theta_k B_k,M(u),   dy/dx = sum_k s_k B_k,M-1(u),   s_k = (theta_(k+1) - theta_k) M / (2 bound) > 0.

    Raw numbers are the M slopes s_k (a softplus, never below 1e-3) and a shift; if all are 0, it is the identity. All
    terms of the slope are positive, and it lies between the least and the largest s_k. Outside, the lines have the
    slopes s_0 and s_(M-1).

    The inverse is solved, between the ends of the interval or where the line has y; its gradients are exact, for first
    derivatives. Raises ValueError for a degree that is not from 1 to 64, or a bound that is not positive. Ramasinghe,
    Fernando, Khan & Barnes, Robust Normalizing Flows Using Bernstein-type Polynomials (2022).

    >>> polynomial = Bernstein(degree=3)
    >>> polynomial.parameters
    4
    >>> y, log_slope = polynomial.forward(ops.full((1, 1), 0.3), *polynomial.prepare(ops.zeros((1, 4, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    # Beyond 64, binomials times powers that vanish would no longer fit into float32.
    def __init__(self, degree: Annotated[int, whole(1, 64)] = 16, *, bound: Positive = 5.0) -> None:
        self.degree, self.bound = degree, bound

    @property
    def parameters(self) -> int:
        return self.degree + 1

    def prepare(self, h: Any) -> Any:
        slopes, shift = slopes_of(h[..., :-1, :]), h[..., -1:, :]
        above = cumsum(slopes, axis=-2) * (2 * self.bound / self.degree)
        heights = ops.concatenate([ops.zeros_like(shift), above], axis=-2)
        return heights - 0.5 * above[..., -1:, :] + shift, slopes

    def within(self, x: Any, heights: Any, slopes: Any) -> tuple[Any, Any]:
        x = ops.expand_dims(x, -2)
        u, v = (self.bound + x) / (2 * self.bound), (self.bound - x) / (2 * self.bound)
        basis = _powers(u, self.degree) * ops.flip(_powers(v, self.degree), axis=-2)
        basis = basis * backends.constant(binomials, self.degree - 1, like=x)
        # One step of de Casteljau from a basis of one degree less, which the slope needs as well.
        y = ops.sum(basis * (v * heights[..., :-1, :] + u * heights[..., 1:, :]), axis=-2)
        return y, ops.sum(basis * slopes, axis=-2)


def binomials(n):
    """C(n, k) for k = 0, ..., n, as a column."""
    return np.array([[math.comb(n, k)] for k in range(n + 1)], dtype="float64")


def _powers(u, count):
    """1, u, u^2, ... on the axis of 1 before the last: products alone, whose gradients are finite at u = 0 too."""
    powers, step = ops.ones_like(u), u
    while powers.shape[-2] < count:
        powers = ops.concatenate([powers, powers * step], axis=-2)
        step = step * step
    return powers[..., :count, :]
