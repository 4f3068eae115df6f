"""Integrals of a positive network."""

import math
from typing import Annotated

from keras import ops

from flowkit.contract import Tensor
from flowkit.contract.arguments import Count, Positive, whole
from flowkit.engines import engine
from flowkit.numerics import cumsum, tanh
from flowkit.transforms.mixtures import even_steps
from flowkit.transforms.splines import LEAST, LinearSlopes, areas_of, distances

_LARGEST = -math.log(LEAST)  # of a log-slope


class UnconstrainedMonotone(LinearSlopes):
    """y = b + int g, g(u) = exp(s(u)) > 0, s(u) = d + sum_k c_k tanh(a_k u + b_k) / sqrt(units): a small network.

    The integral is taken by the trapezoidal rule with `nodes` fixed nodes, evenly from -bound to bound: so y is the
    exact integral of the line that joins the values of g at the nodes, and log dy/dx the logarithm of that line. It
    increases whatever the weights are. (A rule whose nodes move with x is more exact for g, but its derivative is not
    g, and need not even be positive.) Outside, y goes on in straight lines of the slopes at both ends. The network
    answers once for each sample, at the nodes, for both directions; and the inverse is a formula.

    Raw numbers are `units` each of c_k, a_k - 1 and b_k, to which even steps from -bound to bound are added, then d and
    b; if all are 0, it is the identity. Log-slopes are bounded smoothly by log 1000: s = L tanh(s / L).

    Raises ValueError for fewer than one unit or three nodes, or a bound that is not positive. Wehenkel & Louppe,
    Unconstrained Monotonic Neural Networks (2019).

    >>> network = UnconstrainedMonotone(units=2)
    >>> network.parameters
    8
    >>> y, log_slope = network.forward(ops.full((1, 1), 0.3), *network.prepare(ops.zeros((1, 8, 1))))
    >>> round(float(y[0, 0]), 6), round(abs(float(log_slope[0, 0])), 6)
    (0.3, 0.0)
    """

    def __init__(
        self, units: Count = 16, *, nodes: Annotated[int, whole(3)] = 33, bound: Positive = 5.0
    ) -> None:
        self.units, self.nodes, self.bound = units, nodes, bound

    @property
    def parameters(self) -> int:
        return 3 * self.units + 2

    def prepare(self, h: Tensor) -> Tensor:
        n = self.units
        outer, inner = h[..., :n, :], 1 + h[..., n : 2 * n, :]
        offset = h[..., 2 * n : 3 * n, :] + engine.constant(even_steps, n, self.bound, like=h)
        nodes = engine.constant(even_steps, self.nodes, self.bound, like=h)
        # (batch, *places, nodes, units, channels)
        hidden = tanh(ops.expand_dims(inner, -3) * ops.expand_dims(nodes, -1) + ops.expand_dims(offset, -3))
        # Without the root, many units that each change a little would together change slopes by orders.
        steered = ops.sum(ops.expand_dims(outer, -3) * hidden, axis=-2) / math.sqrt(n)
        log_slopes = h[..., -2:-1, :] + steered
        slopes = ops.exp(_LARGEST * tanh(log_slopes / _LARGEST))
        knots = nodes + ops.zeros_like(slopes)
        above = cumsum(areas_of(distances(knots), slopes), axis=-2)
        images = ops.concatenate([ops.zeros_like(above[..., :1, :]), above], axis=-2)
        return knots, images - 0.5 * above[..., -1:, :] + h[..., -1:, :], slopes
