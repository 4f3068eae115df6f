"""An estimate of log det(I + J) for a Jacobian J that shrinks, by its power series."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

from keras import ops

from flowkit.engines import engine


class LogDetSeries:
    """log det(I + J) = sum_k (-1)^(k+1) / k trace(J^k), |J| <= c < 1, by random signs e: trace(A) = E[e^T A e].

    "hutchinson" stops after `terms`, with a bias of at most `bias` for each entry. "roulette" weighs term `terms` + m
    by 1 / P(N >= m) if N >= m and by 0 otherwise, N geometric: P(N >= m) = q^(m - 1), q = max(c, 1/2), with which the
    variance is finite. It ends where a uniform number has no digits left to draw a larger N with.
    """

    KINDS: ClassVar = ("exact", "hutchinson", "roulette")

    def __init__(self, kind: str, c: float, terms: int | None) -> None:
        self.kind, self.keep = kind, max(c, 0.5)
        if kind == "exact":
            self.terms = self.most = 0
            self.bias = 0.0
        elif kind == "roulette":
            self.terms = terms or 2
            self.most = self.terms + math.ceil(24 * math.log(2) / -math.log(self.keep))
            self.bias = left_out(c, self.most)
        else:
            self.terms = self.most = terms or next(n for n in range(1, 10**6) if left_out(c, n) <= 1e-3)
            self.bias = left_out(c, self.most)

    def log_det(self, g: Callable[[Any], Any], x: Any, noise: Any) -> Any:
        """The estimate for (batch, size) points x from uniform numbers, (batch,); g is differentiated at x.

        Its value is that of the series. Its gradient is that of e^T J(x) u with u = e - J e + J^2 e - ..., a constant:
        d log det(I + J) = trace((I + J)^-1 dJ), so that one derivative is kept, and not all of the series.
        """
        size, noise = x.shape[-1], ops.cast(noise, x.dtype)
        signs = ops.where(noise[:, :size] < 0.5, -ops.ones_like(x), ops.ones_like(x))
        draws = ops.cast(self._draws(noise), x.dtype)  # `keras.ops` rounds some of it on JAX
        with engine.no_grad():
            # Up to the power k: J^k e, u and the value, and k.
            start = signs, ops.zeros_like(x), ops.zeros_like(x[:, 0]), ops.zeros_like(x[:, 0])
            fixed = ops.stop_gradient(x)

            def step(state):
                power, u, value, k = state
                weight = ops.cast(self._weight(k + 1, draws), x.dtype)
                sign = ops.cast(1 - 2 * ops.mod(k, 2), x.dtype)  # of term k + 1
                u = u + (sign * weight)[:, None] * power
                power = ops.jvp(g, (fixed,), (power,))[1]
                return power, u, value + sign * weight / (k + 1) * ops.sum(signs * power, axis=-1), k + 1

            def alive(state):
                return ops.any(self._weight(state[3] + 1, draws) > 0)

            _, u, value, _ = engine.iterate(step, self.most, start, alive=alive)
        u, value = ops.stop_gradient(u), ops.stop_gradient(value)
        carrier = ops.sum(signs * ops.jvp(g, (x,), (u,))[1], axis=-1)
        return value + carrier - ops.stop_gradient(carrier)

    def _draws(self, noise):
        """N for each sample; without roulette 0."""
        if self.kind != "roulette":
            return ops.zeros_like(noise[:, 0])
        return 1 + ops.floor(ops.log1p(-noise[:, -1]) / math.log(self.keep))

    def _weight(self, k, draws):
        """The weight of term k."""
        late = k - self.terms
        one = ops.ones_like(k)
        paid = ops.exp(-math.log(self.keep) * (ops.maximum(late, one) - 1))
        return ops.where(late <= 0, one, ops.where(late <= draws, paid, ops.zeros_like(k)))


def left_out(c: float, terms: int) -> float:
    """A bound of what the terms after the first add up to for each entry: c^k / k, summed over k > terms.

    >>> left_out(0.5, 1)  # of log 2 - 1/2
    0.25
    """
    return c ** (terms + 1) / ((terms + 1) * (1 - c))
