"""The columns of a table, each from its own interval, onto the real line."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from flowkit import backends
from flowkit.bijectors.elementwise import Elementwise
from flowkit.contract import BijectorSpec, ContractError, Domain
from flowkit.contract.arguments import shown
from flowkit.numerics import log_sigmoid, maximum, minimum


@keras.saving.register_keras_serializable("flowkit")
class Unconstrain(Elementwise):
    """Each column from its domain onto the real line, by a logarithm or a logit.

    - "real", or (-inf, inf): z = x.
    - "positive", or (low, inf): z = log(x - low). (-inf, high): z = -log(high - x).
    - (low, high): z = log(x - low) - log(high - x).

    `domains` has one of these, or a `Domain` that is an interval, for each column. The inverse stays strictly inside,
    however far out z is: what a flow draws, it can score. Raises ValueError for what is no interval, an angle
    among them, and ContractError for data of another number of columns.

    >>> x = ops.convert_to_tensor([[-3.0, 0.5, 0.25]])
    >>> z, log_det = Unconstrain(["real", "positive", (0.0, 1.0)])(x)
    >>> [round(float(n), 4) for n in ops.convert_to_numpy(z)[0]]  # x, log(x), log(x / (1 - x))
    [-3.0, -0.6931, -1.0986]
    """

    pure = True

    _kept_as: ClassVar = {"domains": "_bounds"}

    def __init__(self, domains: Iterable[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(domains, str | Domain) or not isinstance(domains, Iterable):
            raise ValueError(
                f"Unconstrain expects a list of domains, one a column, received {shown(domains)}."
            )
        self.columns = [interval(domain, number) for number, domain in enumerate(domains)]
        domain = Domain.intervals(*((column.low, column.high) for column in self.columns))
        self.spec = BijectorSpec(domain=domain, log_det="zero" if domain == Domain.REAL else "varying")
        self._bounds = tuple((column.low, column.high) for column in self.columns)

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        if x_shape[-1] != len(self.columns):
            raise ContractError(
                "event shape",
                self,
                expected=f"{len(self.columns)} columns, as there are domains",
                received=f"shape {tuple(x_shape)}",
            )

    def _forward(self, x):
        bounded_below, bounded_above, _ = self._sides(x)
        # What is not bounded on a side has a distance of 1 from it: a logarithm of 0.
        below = ops.where(bounded_below, x - self._constant(_low, x), ops.ones_like(x))
        above = ops.where(bounded_above, self._constant(_high, x) - x, ops.ones_like(x))
        log_below, log_above = ops.log(below), ops.log(above)
        z = ops.where(ops.logical_or(bounded_below, bounded_above), log_below - log_above, x)
        return z, self._constant(_log_width, x) - log_below - log_above

    def _inverse(self, z):
        below, above, both = self._sides(z)
        zero = ops.zeros_like(z)
        low, high, log_width = (self._constant(given, z) for given in (_low, _high, _log_width))
        width = self._constant(_width, z)
        # Of an interval, from the nearer end: there a small distance keeps its digits.
        t = ops.where(both, z, zero)
        log_from_low, log_from_high = log_sigmoid(t), log_sigmoid(-t)
        between = ops.where(t > 0, high - width * ops.exp(log_from_high), low + width * ops.exp(log_from_low))
        # Of a half-line.
        log_distance = ops.where(both, zero, ops.where(below, z, ops.where(above, -z, zero)))
        distance = ops.exp(log_distance)
        x = ops.where(below, low + distance, ops.where(above, high - distance, z))
        x = ops.where(both, between, x)
        # No number that rounding has put on an end, or beyond all numbers.
        dtype = keras.backend.standardize_dtype(x.dtype)
        kept = minimum(maximum(x, self._constant(_first, x, dtype)), self._constant(_last, x, dtype))
        x = ops.where(ops.logical_or(below, above), kept, x)
        return x, log_width + ops.where(both, log_from_low + log_from_high, zero) + log_distance

    def _constant(self, function, x, *more):
        """Numbers of the columns, once on each device: a copy to it in each pass would cost more than the map."""
        return backends.constant(function, self._bounds, *more, like=x)

    def _sides(self, x):
        """Which columns are bounded below, above, and on both sides."""
        below, above = (self._constant(function, x) > 0 for function in (_is_below, _is_above))
        return below, above, ops.logical_and(below, above)

    def get_config(self) -> dict[str, Any]:
        ends = [[_stored(column.low), _stored(column.high)] for column in self.columns]
        return {**super().get_config(), "domains": ends}


def interval(domain: Any, number: int) -> Domain:
    """The interval that `domain` names, as an argument for column `number`. Raises ValueError for what is none."""
    if isinstance(domain, str | Domain) and domain in ("circular", Domain.CIRCLE):
        raise ValueError(
            f"the domain of column {number}: expected an interval, received the circle, which no map takes onto the "
            "line. For angles alone take flowkit.zoo.circular_nsf, as they are. Beside other columns, either take "
            "(-math.pi, math.pi), with the seam where few rows are; or fit the other columns given the angles' cosines "
            "and sines, as context=, and the angles by a flow of their own."
        )
    if isinstance(domain, Domain) and domain.kind == "interval" and domain.columns is None:
        return domain
    words = {"real": Domain.REAL, "positive": Domain.POSITIVE}
    if isinstance(domain, str) and domain in words:
        return words[domain]
    try:
        low, high = (float("nan") if isinstance(end, str | bool) else end for end in domain)
        low, high = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise ValueError(
            f"the domain of column {number}: expected 'real', 'positive' or (low, high) with low < high, received "
            f"{shown(domain)}."
        )
    return Domain.interval(low, high)


def _stored(end):
    """As JSON, which has no infinity, None."""
    return end if math.isfinite(end) else None


def _ends(bounds):
    """(low, high) of all columns, as arrays."""
    return np.array(bounds).T


def _low(bounds):
    low, _ = _ends(bounds)
    return np.where(np.isfinite(low), low, 0.0)


def _high(bounds):
    _, high = _ends(bounds)
    return np.where(np.isfinite(high), high, 0.0)


def _is_below(bounds):
    return np.isfinite(_ends(bounds)[0])


def _is_above(bounds):
    return np.isfinite(_ends(bounds)[1])


def _width(bounds):
    return np.where(_is_below(bounds) & _is_above(bounds), _high(bounds) - _low(bounds), 1.0)


def _log_width(bounds):
    return np.log(_width(bounds))


def _first(bounds, dtype):
    """The first number strictly inside, in a type; none that an engine would flush to zero."""
    low, high = _ends(bounds).astype(dtype)
    return np.maximum(np.nextafter(low, high), low + np.finfo(dtype).tiny)


def _last(bounds, dtype):
    """The last one."""
    low, high = _ends(bounds).astype(dtype)
    return np.minimum(np.nextafter(high, low), high - np.finfo(dtype).tiny)
