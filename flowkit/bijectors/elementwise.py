"""Maps of each entry by itself, between the real line, the positive numbers and bounded intervals."""

import math
from typing import Any

import keras
from keras import ops

from flowkit.contract import Bijector, BijectorSpec, ContractError, Domain, Tensor, sum_event
from flowkit.contract.call import Call
from flowkit.contract.domain import first_and_last
from flowkit.numerics import log1mexp, log_sigmoid, maximum, minimum, softplus, tanh


def inside(x: Tensor, interval: Domain) -> Tensor:
    """Return `x` with numbers that were rounded to an end of an open interval, or beyond, moved inside.

    Then a map onto the interval stays in it, however far out its input is: the next layer can take what it gives, and a
    flow can score what it draws.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    first, last = first_and_last(interval.low, interval.high, dtype)
    return minimum(maximum(x, float(first)), float(last))


class Elementwise(Bijector):
    """A pointwise map: y_i = f(x_i). Its hooks return log|f'(x_i)| for each entry, and the class sums them.
    One for each channel, or a single one, counts for every entry it belongs to.

    >>> class Cube(Elementwise):
    ...     def _forward(self, x):
    ...         return x**3, ops.log(3 * x**2)
    ...     def _inverse(self, y):
    ...         x = ops.sign(y) * ops.abs(y) ** (1 / 3)
    ...         return x, -ops.log(3 * x**2)
    >>> y, log_det = Cube()(ops.full((2, 5), 2.0))
    >>> tuple(log_det.shape)
    (2,)
    """

    def run(
        self, x: Tensor, call: Call, noise: Tensor | None = None, derived: Any = None
    ) -> tuple[Tensor, Tensor]:
        y, log_derivative = super().run(x, call, noise, derived)
        return y, sum_event(ops.broadcast_to(self._for_each(log_derivative, y), ops.shape(y)))

    def _for_each(self, log_derivative, y):
        """Return the log-derivative, if it has the size of y, or one along an axis."""
        received = tuple(ops.shape(log_derivative)) if hasattr(log_derivative, "shape") else ()
        wanted = tuple(ops.shape(y))
        pairs = zip(reversed(received), reversed(wanted), strict=False)
        if len(received) > len(wanted) or any(
            isinstance(a, int) and isinstance(b, int) and a not in (b, 1) for a, b in pairs
        ):
            expected = f"a log-derivative for each entry, shape {wanted}, from its hooks"
            hint = "The class sums over the event: return what is not summed."
            raise ContractError("log-det", self, expected=expected, received=f"shape {received}", hint=hint)
        return log_derivative


class Exp(Elementwise):
    """y = exp(x), from the real line onto the positive numbers.

    >>> y, log_det = Exp()(ops.full((1, 2), 1.0))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (2.7183, 2.0)
    """

    spec = BijectorSpec(codomain=Domain.POSITIVE)

    def _forward(self, x):
        return inside(ops.exp(x), self.spec.codomain), x

    def _inverse(self, y):
        x = ops.log(y)
        return x, -x


class Softplus(Elementwise):
    """y = log(1 + exp(x)), from the real line onto the positive numbers.

    >>> y, log_det = Softplus()(ops.full((1, 2), 1.0))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (1.3133, -0.6265)
    """

    spec = BijectorSpec(codomain=Domain.POSITIVE)

    def _forward(self, x):
        return inside(softplus(x), self.spec.codomain), log_sigmoid(x)

    def _inverse(self, y):
        log_slope = log1mexp(y)  # the log-derivative of the way forth
        return y + log_slope, -log_slope


class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x)), from the real line onto (0, 1).

    >>> y, log_det = Sigmoid()(ops.full((1, 2), 1.0))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (0.7311, -3.253)
    """

    spec = BijectorSpec(codomain=Domain.UNIT_INTERVAL)

    def _forward(self, x):
        log_y = log_sigmoid(x)
        return inside(ops.exp(log_y), Domain.UNIT_INTERVAL), log_y + log_sigmoid(-x)

    def _inverse(self, y):
        log_y, log_rest = ops.log(y), ops.log1p(-y)
        return log_y - log_rest, -log_y - log_rest


class Logit(Sigmoid):
    """y = log(x / (1 - x)), from (0, 1) onto the real line: `Sigmoid` read backwards.

    >>> y, log_det = Logit()(ops.full((1, 2), 0.75))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (1.0986, 3.348)
    """

    spec = BijectorSpec(domain=Domain.UNIT_INTERVAL)

    _forward, _inverse = Sigmoid._inverse, Sigmoid._forward


class Tanh(Elementwise):
    """y = tanh(x), from the real line onto (-1, 1).

    >>> y, log_det = Tanh()(ops.full((1, 2), 1.0))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (0.7616, -1.7351)
    """

    spec = BijectorSpec(codomain=Domain.interval(-1, 1))

    def _forward(self, x):
        size = ops.abs(x)
        return inside(tanh(x), self.spec.codomain), 2 * (math.log(2) - size + log_sigmoid(2 * size))

    def _inverse(self, y):
        x = 0.5 * (ops.log1p(y) - ops.log1p(-y))
        return x, -ops.log1p(y) - ops.log1p(-y)
