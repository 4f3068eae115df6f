"""A network added to its input."""

import math
from typing import Annotated, Any

import keras
from keras import ops, tree

from flowkit import backends
from flowkit.bijectors.log_det_series import LogDetSeries
from flowkit.contract import Bijector, BijectorSpec, ContractError
from flowkit.contract.arguments import Count, is_number, words
from flowkit.contract.conditioner import (
    adapt_conditioner,
    ask,
    build_conditioner,
    context_of,
    derive,
    refresh_conditioner,
    refreshes,
)
from flowkit.contract.precision import rounding_unit
from flowkit.contract.spec import SOLVED
from flowkit.numerics import matmul


@keras.saving.register_keras_serializable("flowkit")
class Residual(Bijector):
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

    pure = True

    noise_kind = "uniform"

    def __init__(
        self,
        conditioner: Any,
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
            raise ContractError(
                "conditioner",
                self,
                expected="a network with an attribute `lipschitz` between 0 and 1",
                received=type(conditioner).__name__ if c is None else f"lipschitz={c!r}",
                hint="Take a LipschitzMLP.",
            )
        if trace == "exact" and terms is not None:
            raise ValueError(f"Residual's terms: expected None for trace='exact', received {terms}.")
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

    @property
    def num_classes(self) -> int | None:
        return getattr(self.conditioner, "num_classes", None)

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        build_conditioner(self, self.conditioner, x_shape[-1], tuple(x_shape), context_shape)

    def noise_size(self, x_shape: Any) -> int:
        return x_shape[-1] + (self.trace == "roulette")

    def _derive(self, x_shape, inverse):
        return {"network": derive(self.conditioner, x_shape)}

    def _network(self, context, derived):
        """g as a function of x, or of x and another context, such as one for more rows."""
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
            with backends.no_grad():
                q, r = ops.qr(ops.stop_gradient(_jacobian(g, x, context)))
            rest = x + g(x) - z
            turned = matmul(ops.swapaxes(q, -1, -2), rest[..., None])
            x = x - ops.solve_triangular(r, turned, lower=False)[..., 0]
        return x, -self._log_det(g, x, context, noise)

    def _find(self, g, z):
        """x with x + g(x) = z, as a constant."""
        fixed = ops.stop_gradient(z)

        def step(state):
            x, _ = state
            moved = fixed - g(x)
            return moved, ops.abs(moved - x) > self._unit * ops.maximum(1.0, ops.abs(moved))

        with backends.no_grad():
            start = fixed, ops.ones_like(fixed, dtype="bool")
            x, _ = backends.iterate(step, self._most, start, alive=lambda state: ops.any(state[1]))
        return ops.stop_gradient(x)

    def _log_det(self, g, x, context, noise):
        if self.trace != "exact":
            return self.series.log_det(g, x, noise)
        # TensorFlow cannot compile slogdet for XLA; the determinant is positive.
        r = ops.qr(_jacobian(g, x, context))[1]
        return ops.sum(ops.log(ops.abs(ops.diagonal(r, axis1=-2, axis2=-1))), axis=-1)

    def run_adapt(self, x: Any, context: Any, again: bool = True, noise: Any = None) -> None:
        adapt_conditioner(self.conditioner, x, context, again)

    @property
    def refreshes(self) -> bool:
        return refreshes(self.conditioner)

    def run_refresh(self, x: Any, context: Any, noise: Any = None) -> None:
        refresh_conditioner(self.conditioner, x, context)


def _jacobian(g, x, context):
    """I + J, (batch, size, size), all its columns in one call."""
    size = x.shape[-1]
    one = ops.eye(size, dtype=x.dtype)
    rows = ops.tile(x, (size, 1))
    units = ops.reshape(one[:, None, :] + ops.zeros_like(x)[None], (-1, size))
    tiled = (
        None
        if context is None
        else tree.map_structure(lambda t: ops.tile(t, (size, *(1,) * (len(t.shape) - 1))), context)
    )
    columns = ops.jvp(lambda x: g(x, tiled), (rows,), (units,))[1]
    return one + ops.transpose(ops.reshape(columns, (size, -1, size)), (1, 2, 0))
