"""A network added to its input."""

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from keras import ops

from flowkit.bijectors.conditional import ConditionalBijector
from flowkit.contract import BijectorSpec, ContractError, Shape, Tensor
from flowkit.contract.arguments import Count, is_number, words
from flowkit.contract.conditioner import Network, ask, build_conditioner, context_of, derive
from flowkit.contract.precision import rounding_unit
from flowkit.contract.shapes import tiled
from flowkit.contract.spec import SOLVED
from flowkit.engines import engine
from flowkit.numerics import matmul


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

    def log_det(self, g: Callable[[Any], Any], x: Tensor, noise: Tensor) -> Any:
        """Return the estimate for (batch, size) points x from uniform numbers, (batch,); g is differentiated at x.

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
        """Return N for each sample; 0 without roulette."""
        if self.kind != "roulette":
            return ops.zeros_like(noise[:, 0])
        return 1 + ops.floor(ops.log1p(-noise[:, -1]) / math.log(self.keep))

    def _weight(self, k, draws):
        """Return the weight of term k."""
        late = k - self.terms
        one = ops.ones_like(k)
        paid = ops.exp(-math.log(self.keep) * (ops.maximum(late, one) - 1))
        return ops.where(late <= 0, one, ops.where(late <= draws, paid, ops.zeros_like(k)))


def left_out(c: float, terms: int) -> float:
    """Return a bound of what the terms after the first add up to for each entry: c^k / k, summed over k > terms.

    >>> left_out(0.5, 1)  # of log 2 - 1/2
    0.25
    """
    return c ** (terms + 1) / ((terms + 1) * (1 - c))


class Residual(ConditionalBijector):
    """z = x + g(x) for vectors, g a network that shrinks distances: |g(x) - g(y)| <= c |x - y|, c < 1.

    The network says its c as `lipschitz`, as `flowkit.conditioners.LipschitzMLP` does, which keeps to it whatever its
    weights are. log-det = log det(I + J), J the Jacobian of g, by `trace`:

    - "exact": all of J, one derivative for each entry, and its determinant; for up to some tens of entries.
    - "hutchinson": the mean of e^T (J - J^2 / 2 + J^3 / 3 - ...) e over random signs e, the series cut after `terms`;
      None takes as many as leave less than 0.001 for each entry, for the given c.
    - "roulette": the same without the cut. After `terms` (None: 2) it goes on with probability max(c, 1/2), and weighs
      what is left accordingly (Russian roulette): no bias, a finite variance, and more noise. A batch costs as many
      derivatives as its longest draw.

    The last two are estimates. Their noise is an input, which `Flow` draws; their gradient is an estimate of its own,
    by a Neumann series, of the same mean as the gradient of the estimate but of constant memory. So for a given noise
    it is not the derivative of the value.

    The inverse is a fixed point, x <- z - g(x), for at most `passes`, and fewer if no entry moves any more. None takes
    as many as c needs: 152 in float32 for 0.9, 23 for 0.5. Fewer leave an error of c^passes |g| / (1 - c). With
    trace="exact" a Newton step then carries exact gradients; with an estimate the inverse has none.

    Raises ContractError for a network without `lipschitz`, or not below 1; ValueError for another `trace`, and for
    `terms` with "exact". Behrmann et al., Invertible Residual Networks (2019); Chen et al., Residual Flows for
    Invertible Generative Modeling (2019).

    >>> from flowkit.conditioners import LipschitzMLP
    >>> layer = Residual(LipschitzMLP([16]))
    >>> z, log_det = layer(ops.ones((4, 3)))
    >>> tuple(z.shape), tuple(log_det.shape)
    ((4, 3), (4,))
    """

    noise_kind = "uniform"

    def __init__(
        self,
        conditioner: Network,
        *,
        trace: Annotated[str, words(*LogDetSeries.KINDS)] = "exact",
        terms: Count | None = None,
        passes: Count | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conditioner, self.trace, self.terms, self.passes = conditioner, trace, terms, passes
        c = getattr(conditioner, "lipschitz", None)
        if not (is_number(c) and 0 < c < 1):
            wanted = "a network with an attribute `lipschitz` between 0 and 1"
            received = type(conditioner).__name__ if c is None else f"lipschitz={c!r}"
            hint = "Take a LipschitzMLP."
            raise ContractError("conditioner", self, expected=wanted, received=received, hint=hint)
        if trace == "exact" and terms is not None:
            raise ValueError(f"Residual's terms: got {terms}, expected None for trace='exact'.")
        self.series = LogDetSeries(trace, c, terms)
        self._unit = rounding_unit(self.compute_dtype)
        self._most = math.ceil(math.log(self._unit) / math.log(c)) if passes is None else passes
        # What is left of the way after the last pass, then what rounding of g adds up to.
        stopped = (c**self._most / 2.0**-23 + SOLVED) / (1 - c)
        estimated = trace != "exact"
        self.spec = BijectorSpec(
            event_rank=1,
            inverse="iterative",
            context=context_of(conditioner),
            round_trip=stopped,
            log_det_error=stopped + self.series.bias / 2.0**-23,
            solver_gradients=not estimated,
            noise="both" if estimated else "none",
            likelihood="estimated" if estimated else "exact",
        )

    def build(self, x_shape: Shape, context_shape: Shape | None = None) -> None:
        build_conditioner(self, self.conditioner, x_shape[-1], tuple(x_shape), context_shape)

    def _seen(self, x, context):
        return x, context

    def noise_size(self, x_shape: Shape) -> int:
        return x_shape[-1] + (self.trace == "roulette")

    def _derive(self, x_shape, inverse):
        return {"network": derive(self.conditioner, x_shape)}

    def _network(self, context, derived):
        """Return g as a function of x, or of x and another context, such as one for more rows."""
        own = derived["network"]
        return lambda x, given=context: ask(self.conditioner, x, given, self.compute_dtype, own)

    def _forward(self, x, context=None, noise=None, *, derived):
        g = self._network(context, derived)
        return x + g(x), self._log_det(g, x, context, noise)

    def _inverse(self, z, context=None, noise=None, *, derived):
        g = self._network(context, derived)
        x = self._find(g, z)
        if self.trace == "exact":
            # A Newton step, of next to no length, but with its gradients.
            with engine.no_grad():
                q, r = ops.qr(ops.stop_gradient(_jacobian(g, x, context)))
            rest = x + g(x) - z
            turned = matmul(ops.swapaxes(q, -1, -2), rest[..., None])
            x = x - ops.solve_triangular(r, turned, lower=False)[..., 0]
        return x, -self._log_det(g, x, context, noise)

    def _find(self, g, z):
        """Return x with x + g(x) = z, as a constant."""
        fixed = ops.stop_gradient(z)

        def step(state):
            x, _ = state
            moved = fixed - g(x)
            return moved, ops.abs(moved - x) > self._unit * ops.maximum(1.0, ops.abs(moved))

        with engine.no_grad():
            start = fixed, ops.ones_like(fixed, dtype="bool")
            x, _ = engine.iterate(step, self._most, start, alive=lambda state: ops.any(state[1]))
        return ops.stop_gradient(x)

    def _log_det(self, g, x, context, noise):
        if self.trace != "exact":
            return self.series.log_det(g, x, noise)
        # TensorFlow cannot compile slogdet for XLA; the determinant is positive.
        r = ops.qr(_jacobian(g, x, context))[1]
        return ops.sum(ops.log(ops.abs(ops.diagonal(r, axis1=-2, axis2=-1))), axis=-1)


def _jacobian(g, x, context):
    """Return I + J, (batch, size, size), with all its columns from one call."""
    size = x.shape[-1]
    one = ops.eye(size, dtype=x.dtype)
    units = ops.reshape(one[:, None, :] + ops.zeros_like(x)[None], (-1, size))
    repeated = tiled(context, size)
    columns = ops.jvp(lambda x: g(x, repeated), (tiled(x, size),), (units,))[1]
    return one + ops.transpose(ops.reshape(columns, (size, -1, size)), (1, 2, 0))
