"""Maps that bend or stretch space in one place, whose parameters a network of the context may move."""

from typing import Any

import numpy as np
from keras import ops

from flowkit.bijectors.conditional import AmortizedBijector
from flowkit.bijectors.linear import FLOOR, scale
from flowkit.bijectors.rotations import reflected
from flowkit.bijectors.weights import new_weight, rng
from flowkit.contract import ContractError, Shape, Tensor
from flowkit.contract.arguments import Count, Seed
from flowkit.contract.conditioner import Network
from flowkit.numerics import log_sigmoid, matmul, norm, softplus, solve_increasing, tanh


class PlanarFamily(AmortizedBijector):
    """A bijector on vectors whose parameters are weights; with a `conditioner`, weights + conditioner(context).

    The answer of the network starts at zero, and the weights do not: at zero some layers would have no gradient. A
    subclass returns the start of its parameters in `_starts(size)`, and calls `_values_for(context)` for them.
    """

    def __init__(self, conditioner: Network = None, *, seed: Seed | None = None, **kwargs: Any) -> None:
        super().__init__(conditioner, **kwargs)
        self.seed = seed

    def _starts(self, size: int) -> dict[str, np.ndarray]:
        """Return where the parameters start, by their names."""
        raise NotImplementedError

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        self.own = {name: new_weight(self, name, value) for name, value in self._starts(x_shape[-1]).items()}
        self._build_amortized(self.own.values(), context_shape)

    def _values_for(self, context):
        """Return the parameters in the order of `_starts`: (batch, *shape), or (1, *shape) if rows share them."""
        return self._amortized(self.own.values(), context)


def tanh_residual(s: Tensor, m: Tensor) -> tuple[Any, Any]:
    """Return (s + m tanh(s), log of its derivative) for each entry; m > -1, so that it increases.

    >>> [round(float(a), 4) for a in tanh_residual(0.0, 1.0)]  # log 2
    [0.0, 0.6931]
    """
    # 1 - tanh^2 would be all rounding far out, and m may be large.
    square = 4 * ops.exp(log_sigmoid(2 * s) + log_sigmoid(-2 * s))
    return s + m * tanh(s), ops.log1p(m * square)


def invert_tanh_residual(y: Tensor, m: Tensor) -> Any:
    """Return s with s + m tanh(s) = y for each entry, which lies within |m| of y; its gradients are exact."""
    reach = ops.abs(m)
    return solve_increasing(lambda s: tanh_residual(s, m), y, y - reach, y + reach)


class Planar(PlanarFamily):
    """z = x + u' tanh(w . x + b), log-det = log(1 + m / cosh^2(w . x + b)), m = w . u', for vectors.

    u' = u + (m - w . u) w / |w|^2 with m a softplus function of w . u, above -0.999 and 0 at 0: this makes the map
    increase along w whatever the weights are. It starts at the identity, u = 0, with w drawn from `seed`.

    The inverse finds s with s + m tanh(s) = w . z + b, within |m| of that, and so x = z - u' tanh(s); its gradients are
    exact, for first derivatives. For fast samples, as in variational inference, take `Inverse` of it.

    With a `conditioner`, u, w and b are weights + conditioner(context). Rezende & Mohamed, Variational Inference with
    Normalizing Flows (2015).

    >>> layer = Planar(seed=0)
    >>> z, log_det = layer(ops.ones((4, 3)))
    >>> bool(ops.max(ops.abs(layer.inverse(z)[0] - 1)) < 1e-5)
    True
    """

    inverse_kind = "iterative"

    def _starts(self, size):
        w = rng(self.seed).normal(size=size) / np.sqrt(size)
        return {"u": np.zeros(size), "w": w, "b": np.zeros(())}

    def _prepared(self, context):
        """Return u', w, b and m = w . u'."""
        u, w, b = self._values_for(context)
        along, square = _dot(w, u), _dot(w, w)
        m = scale(along) - 1
        # By |w|^2, not by |w|. If w = 0, x is only moved.
        square = ops.where(square > 0, square, ops.ones_like(square))
        return u + ((m - along) / square)[:, None] * w, w, b, m

    def _forward(self, x, context=None):
        u, w, b, m = self._prepared(context)
        s = _dot(w, x) + b
        return x + u * tanh(s)[:, None], tanh_residual(s, m)[1]

    def _inverse(self, z, context=None):
        u, w, b, m = self._prepared(context)
        s = invert_tanh_residual(_dot(w, z) + b, m)
        return z - u * tanh(s)[:, None], -tanh_residual(s, m)[1]


def _dot(a, b):
    return ops.sum(a * b, axis=-1)


class Radial(PlanarFamily):
    """z = x + beta (x - c) / (alpha + r), r = |x - c|, for vectors of D entries.

    log-det = (D - 1) log(1 + beta / (alpha + r)) + log(1 + alpha beta / (alpha + r)^2). alpha > 0 and beta >
    -0.999 alpha are softplus functions of weights, so that r increases. It starts at the identity, beta = 0, with c
    drawn from `seed`.

    The inverse has a closed form: r is the positive root of r^2 + (alpha + beta - R) r - alpha R, R = |z - c|.

    With a `conditioner`, c and what alpha and beta are made of are weights + conditioner(context). Rezende & Mohamed,
    Variational Inference with Normalizing Flows (2015).

    >>> layer = Radial(seed=0)
    >>> z, log_det = layer(ops.ones((4, 3)))
    >>> bool(ops.max(ops.abs(layer.inverse(z)[0] - 1)) < 1e-6)
    True
    """

    def _starts(self, size):
        return {"c": rng(self.seed).normal(size=size), "alpha": np.array(0.5), "beta": np.zeros(())}

    def _around(self, context):
        """Return c, alpha and beta / alpha."""
        c, alpha, beta = self._values_for(context)
        return c, softplus(alpha) + 1e-3, scale(beta) - 1

    def _stretch(self, away, r, alpha, ratio):
        """Return log(1 + beta / (alpha + r)) and the log-det, at distance r."""
        share = alpha / (alpha + r)
        log_stretch = ops.log1p(ratio * share)
        return log_stretch, (away.shape[-1] - 1) * log_stretch + ops.log1p(ratio * share * share)

    def _forward(self, x, context=None):
        c, alpha, ratio = self._around(context)
        away = x - c
        r = norm(away, axis=-1)
        log_stretch, log_det = self._stretch(away, r, alpha, ratio)
        # Not c + away * stretch, which would round x even if there is no stretch.
        return x + ops.expm1(log_stretch)[:, None] * away, log_det

    def _inverse(self, z, context=None):
        c, alpha, ratio = self._around(context)
        away = z - c
        length = norm(away, axis=-1)
        k = alpha + alpha * ratio - length
        # The sum of two numbers of one sign, so nothing cancels, and the one not taken is finite.
        m = ops.sqrt(k * k + 4 * alpha * length) + ops.abs(k)
        r = ops.where(k <= 0, m / 2, 2 * alpha * length / m)
        log_stretch, log_det = self._stretch(away, r, alpha, ratio)
        return z + ops.expm1(-log_stretch)[:, None] * away, -log_det


class Sylvester(PlanarFamily):
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
        """Return Q, R, S, b and r_ii s_ii."""
        vectors, r, s, b = self._values_for(context)
        units = b.shape[-1]
        one = ops.eye(units, dtype=r.dtype)
        r = ops.triu(r, 1) + (1 - FLOOR) * one * tanh(r)
        s = ops.triu(s, 1) + one * tanh(s)
        return reflected(vectors, units), r, s, b, ops.sum(one * r * s, axis=-1)

    def _forward(self, x, context=None):
        q, r, s, b, m = self._mixing(context)
        a = _times(s, _times(ops.swapaxes(q, -1, -2), x)) + b
        return x + _times(q, _times(r, tanh(a))), ops.sum(tanh_residual(a, m)[1], axis=-1)

    def _inverse(self, z, context=None):
        q, r, s, b, m = self._mixing(context)
        known = _times(s, _times(ops.swapaxes(q, -1, -2), z)) + b
        mixed = matmul(s, r)  # upper triangular
        found: list[Any] = []  # a_i and tanh(a_i), the last unit's first
        for i in reversed(range(m.shape[-1])):
            rest = known[:, i] - sum(mixed[:, i, j] * bent for j, (_, bent) in found)
            a = invert_tanh_residual(rest, m[:, i])
            found.append((i, (a, tanh(a))))
        a, bent = (ops.stack([pair[k] for _, pair in found[::-1]], axis=-1) for k in (0, 1))
        return z - _times(q, _times(r, bent)), -ops.sum(tanh_residual(a, m)[1], axis=-1)


def _times(matrix, x):
    """Return the product of (batch or 1, n, k) matrices and vectors (batch, k)."""
    return matmul(matrix, x[..., None])[..., 0]
