"""Increasing polynomials: Bernstein's, and integrals of sums of squares."""

import math
from typing import Annotated, Any

import numpy as np
from keras import ops

from flowkit.contract import Tensor
from flowkit.contract.arguments import Count, Positive, whole
from flowkit.engines import engine
from flowkit.numerics import cumsum
from flowkit.transforms.splines import LEAST, slopes_of
from flowkit.transforms.transform import StraightTails


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

    def prepare(self, h: Tensor) -> Tensor:
        slopes, shift = slopes_of(h[..., :-1, :]), h[..., -1:, :]
        above = cumsum(slopes, axis=-2) * (2 * self.bound / self.degree)
        heights = ops.concatenate([ops.zeros_like(shift), above], axis=-2)
        return heights - 0.5 * above[..., -1:, :] + shift, slopes

    def within(self, x: Tensor, heights: Tensor, slopes: Tensor) -> tuple[Any, Any]:
        x = ops.expand_dims(x, -2)
        u, v = (self.bound + x) / (2 * self.bound), (self.bound - x) / (2 * self.bound)
        basis = _powers(u, self.degree) * ops.flip(_powers(v, self.degree), axis=-2)
        basis = basis * engine.constant(binomials, self.degree - 1, like=x)
        # One step of de Casteljau from a basis of one degree less, which the slope needs as well.
        y = ops.sum(basis * (v * heights[..., :-1, :] + u * heights[..., 1:, :]), axis=-2)
        return y, ops.sum(basis * slopes, axis=-2)


def binomials(n):
    """Return C(n, k) for k = 0, ..., n, as a column."""
    return np.array([[math.comb(n, k)] for k in range(n + 1)], dtype="float64")


def _powers(u, count):
    """Return 1, u, u^2, ... on the axis of 1 before the last: products, with finite gradients at u = 0 too."""
    powers, step = ops.ones_like(u), u
    while powers.shape[-2] < count:
        powers = ops.concatenate([powers, powers * step], axis=-2)
        step = step * step
    return powers[..., :count, :]


class SumOfSquares(StraightTails):
    """The integral of a sum of squared polynomials on [-bound, bound]; straight lines outside.

        y = c + int_0^x g,   dy/dx = g(x) = e + (1 - e) / K sum_k (c_k + sum_(j=0..L) a_kj (x / bound)^j)^2,

    with K `terms`, L the `degree`, e = 1e-3 the least slope, and fixed c_k = sqrt(2 k / (K + 1)) (k = 1, ..., K): their
    squares have the mean 1, and they differ, or all terms would learn the same. Raw numbers are a_kj and c; if all are
    0, it is the identity.

    Gauss and Legendre's rule of L + 1 nodes integrates g exactly, without a difference of any two terms. The inverse is
    solved, between the ends of the interval or where the line has y; its gradients are exact, for first derivatives.
    Raises ValueError for fewer than one term, a degree not from 1 to 32, or a bound that is not positive. Jaini, Selby
    & Yu, Sum-of-Squares Polynomial Flow (2019), who have polynomials in place of the lines.

    >>> squares = SumOfSquares(terms=2, degree=3)
    >>> squares.parameters
    9
    >>> y, log_slope = squares.forward(ops.full((1, 1), 0.3), *squares.prepare(ops.zeros((1, 9, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    def __init__(
        self, terms: Count = 3, degree: Annotated[int, whole(1, 32)] = 4, *, bound: Positive = 5.0
    ) -> None:
        self.terms, self.degree, self.bound = terms, degree, bound

    @property
    def parameters(self) -> int:
        return self.terms * (self.degree + 1) + 1

    def prepare(self, h: Tensor) -> Tensor:
        coefficients = [h[..., j * self.terms : (j + 1) * self.terms, :] for j in range(self.degree + 1)]
        constant = coefficients[0] + engine.constant(starts, self.terms, like=h)
        return h[..., -1, :], constant, *coefficients[1:]

    def within(self, x: Tensor, shift: Tensor, *coefficients: Tensor) -> tuple[Any, Any]:
        # (batch, *places, nodes, terms, channels), the last node at x itself, of no weight.
        u = ops.expand_dims(ops.expand_dims(x, -2), -2) / self.bound
        u = u * ops.expand_dims(engine.constant(nodes, self.degree + 1, like=x), -1)
        value = ops.zeros_like(u)
        for coefficient in reversed(coefficients):
            value = value * u + ops.expand_dims(coefficient, -3)
        slopes = LEAST + (1 - LEAST) / self.terms * ops.sum(ops.square(value), axis=-2)
        weighted = slopes * engine.constant(weights, self.degree + 1, like=x)
        return shift + x * ops.sum(weighted, axis=-2), slopes[..., -1, :]


def starts(terms):
    """Return the fixed constants c_k of the squares, as a column."""
    return np.sqrt(2 * np.arange(1, terms + 1) / (terms + 1))[:, None]


def nodes(count):
    """Gauss and Legendre's nodes in (0, 1), then 1, as a column."""
    return np.append((1 + np.polynomial.legendre.leggauss(count)[0]) / 2, 1.0)[:, None]


def weights(count):
    """Return their weights, which add up to 1, then 0, as a column."""
    return np.append(np.polynomial.legendre.leggauss(count)[1] / 2, 0.0)[:, None]
