"""Bends along several directions at once."""

from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.fixed import rng
from flowkit.bijectors.linear.householder import reflected
from flowkit.bijectors.planar import bend, unbend
from flowkit.bijectors.scales import FLOOR
from flowkit.bijectors.steered_by_context import SteeredByContext
from flowkit.contract import ContractError
from flowkit.contract.arguments import Count
from flowkit.contract.conditioner import Network
from flowkit.numerics import matmul, tanh


@keras.saving.register_keras_serializable("flowkit")
class Sylvester(SteeredByContext):
    """z = x + Q R tanh(a), a = S Q^T x + b, log-det = sum_i log(1 + r_ii s_ii / cosh^2(a_i)), for vectors.

    Q is (size, units) with orthonormal columns, made of `units` reflections; R and S are upper triangular. Their
    diagonals are tanh of weights, that of R times 0.999, so that 1 + r_ii s_ii > 0 and the map can be inverted. It
    starts at the identity, R = 0, the rest drawn from `seed`. `units` None takes 8, or as many as there are entries
    if those are fewer. With one unit it is a `Planar`.

    The inverse solves a + S R tanh(a) = S Q^T z + b, one unit after another from the last up, each within |r_ii s_ii|
    of what is known; then x = z - Q R tanh(a). Its gradients are exact, for first derivatives. For fast samples, as in
    variational inference, take `Inverse` of it.

    With a `conditioner`, Q, R, S and b are made of weights + conditioner(context). Raises ContractError for fewer
    entries than `units`. van den Berg, Hasenclever, Tomczak & Welling, Sylvester Normalizing Flows (2018).

    >>> layer = Sylvester(units=2, seed=0)
    >>> z, log_det = layer(ops.ones((4, 3)))
    >>> bool(ops.max(ops.abs(layer.inverse(z)[0] - 1)) < 1e-5)
    True
    """

    inverse_kind = "iterative"

    def __init__(self, conditioner: Network = None, *, units: Count | None = None, **kwargs: Any) -> None:
        super().__init__(conditioner, **kwargs)
        self.units = units

    def _starts(self, size):
        units = min(8, size) if self.units is None else self.units
        if size < units:
            raise ContractError(
                "event shape", self, expected=f"at least units={units} entries", received=f"{size}"
            )
        draw = rng(self.seed)
        return {
            "vectors": draw.normal(size=(units, size)),
            "R": np.zeros((units, units)),
            "S": draw.normal(size=(units, units)) / np.sqrt(units),
            "b": np.zeros(units),
        }

    def _mixing(self, context):
        """Q, R, S, b and r_ii s_ii."""
        vectors, r, s, b = self._steered(context)
        units = b.shape[-1]
        one = ops.eye(units, dtype=r.dtype)
        r = ops.triu(r, 1) + (1 - FLOOR) * one * tanh(r)
        s = ops.triu(s, 1) + one * tanh(s)
        return reflected(vectors, units), r, s, b, ops.sum(one * r * s, axis=-1)

    def _forward(self, x, context=None):
        q, r, s, b, m = self._mixing(context)
        a = _times(s, _times(ops.swapaxes(q, -1, -2), x)) + b
        return x + _times(q, _times(r, tanh(a))), ops.sum(bend(a, m)[1], axis=-1)

    def _inverse(self, z, context=None):
        q, r, s, b, m = self._mixing(context)
        known = _times(s, _times(ops.swapaxes(q, -1, -2), z)) + b
        mixed = matmul(s, r)  # upper triangular
        found: list[Any] = []  # a_i and tanh(a_i), the last unit's first
        for i in reversed(range(m.shape[-1])):
            rest = known[:, i] - sum(mixed[:, i, j] * bent for j, (_, bent) in found)
            a = unbend(rest, m[:, i])
            found.append((i, (a, tanh(a))))
        a, bent = (ops.stack([pair[k] for _, pair in found[::-1]], axis=-1) for k in (0, 1))
        return z - _times(q, _times(r, bent)), -ops.sum(bend(a, m)[1], axis=-1)


def _times(matrix, x):
    """The product of (batch or 1, n, k) matrices and vectors (batch, k)."""
    return matmul(matrix, x[..., None])[..., 0]
