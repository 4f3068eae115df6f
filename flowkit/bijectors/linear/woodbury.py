"""A change of low rank to the identity."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.linear.householder import reflected
from flowkit.bijectors.linear.linear import Linear, eye, triangle
from flowkit.bijectors.scales import scale
from flowkit.contract import ContractError
from flowkit.contract.arguments import Count
from flowkit.numerics import matmul


@keras.saving.register_keras_serializable("flowkit")
class Woodbury(Linear):
    """z = x + (x U) V + b with U (channels, rank) and V (rank, channels), log-det = places * sum(log t_ii).

    It costs 2 channels * rank products for a place, not channels^2. Free U and V could make I + U V singular. Here V
    has orthonormal rows, made of `rank` reflections, and U = V^T (T - I) + (I - V^T V) B with any B and an upper
    triangular T, of which t_ii are softplus functions of weights, above 0.001. So I + V U = T, det(I + U V) =
    det T > 0, and the inverse is I - U T^-1 V (Woodbury, 1950): invertible by construction. What this leaves out of
    all U and V: those for which V U has complex eigenvalues, or I + V U negative ones. A rotation beside it makes up
    for it.

    It starts at the identity (T = I, B = 0); with `init="random"` at a random change of the size of 1, not at a
    rotation. `bias` adds a learned b. Events have any rank; the last axis is multiplied.

    Raises ContractError for fewer channels than `rank`, ValueError for another `init`. Lu & Huang, Woodbury
    Transformations for Deep Generative Flows (2020).

    >>> z, log_det = Woodbury(rank=2)(ops.ones((5, 8)))
    >>> float(log_det[0])  # it starts at the identity
    0.0
    """

    pure = True

    def __init__(self, rank: Count = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = rank

    def _build(self, channels):
        if channels < self.rank:
            raise ContractError(
                "event shape",
                self,
                expected=f"at least rank={self.rank} channels",
                received=f"{channels}",
            )
        vectors, free = self._drawn(2, self.rank, channels)
        size = 1.0 if self.init == "random" else 0.0
        self.vectors = self._learned("vectors", vectors)
        self.free = self._learned("B", size * free.T / np.sqrt(channels))
        self.upper = self._learned("T", np.zeros((self.rank, self.rank)))
        self.raw = self._learned("raw_diagonal", np.zeros(self.rank))

    def factors(self, inverse: bool = False) -> tuple[Any, Any]:
        """U and V of I + U V, the map or its inverse: (channels, rank) and (rank, channels)."""
        columns = reflected(self.vectors.value, self.rank)  # V^T
        rows = ops.swapaxes(columns, -1, -2)
        upper = triangle(self.upper.value, scale(self.raw.value))
        free = self.free.value - matmul(columns, matmul(rows, self.free.value))
        left = matmul(columns, upper - eye(self.rank, upper)) + free
        return left, -ops.solve_triangular(upper, rows, lower=False) if inverse else rows

    def matrix(self, inverse: bool = False) -> Any:
        """I + U V, or its inverse, (channels, channels)."""
        left, right = self.factors(inverse)
        return eye(left.shape[-2], left) + matmul(left, right)

    def log_abs_det(self) -> Any:
        """sum(log t_ii)."""
        return ops.sum(ops.log(scale(self.raw.value)), axis=-1)

    def _times(self, x, factors):
        left, right = factors
        return x + matmul(matmul(x, left), right)
