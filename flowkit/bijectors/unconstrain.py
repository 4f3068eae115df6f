"""The columns of a table, each from its own interval, onto the real line."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

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

    def __init__(self, domains: Iterable[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(domains, str | Domain) or not isinstance(domains, Iterable):
            raise ValueError(
                f"Unconstrain expects a list of domains, one a column, received {shown(domains)}."
            )
        self.columns = [interval(domain, number) for number, domain in enumerate(domains)]
        domain = Domain.intervals(*((column.low, column.high) for column in self.columns))
        self.spec = BijectorSpec(domain=domain, log_det="zero" if domain == Domain.REAL else "varying")
        low, high = np.array([(column.low, column.high) for column in self.columns]).T
        self._low, self._high = low, high
        self._below, self._above = np.isfinite(low), np.isfinite(high)
        self._both = self._below & self._above
        self._width = np.where(self._both, high - low, 1.0)

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
        # What is not bounded on a side has a distance of 1 from it: a logarithm of 0.
        below = ops.where(self._below, x - self._finite(self._low, x), ops.ones_like(x))
        above = ops.where(self._above, self._finite(self._high, x) - x, ops.ones_like(x))
        log_below, log_above = ops.log(below), ops.log(above)
        z = ops.where(self._below | self._above, log_below - log_above, x)
        return z, self._log_width(x) - log_below - log_above

    def _inverse(self, z):
        zero = ops.zeros_like(z)
        low, high, width = (self._finite(given, z) for given in (self._low, self._high, self._width))
        # Of an interval, from the nearer end: there a small distance keeps its digits.
        t = ops.where(self._both, z, zero)
        log_from_low, log_from_high = log_sigmoid(t), log_sigmoid(-t)
        between = ops.where(t > 0, high - width * ops.exp(log_from_high), low + width * ops.exp(log_from_low))
        # Of a half-line.
        log_distance = ops.where(
            self._both, zero, ops.where(self._below, z, ops.where(self._above, -z, zero))
        )
        distance = ops.exp(log_distance)
        x = ops.where(self._below, low + distance, ops.where(self._above, high - distance, z))
        x = ops.where(self._both, between, x)
        within = ops.where(self._both, log_from_low + log_from_high, zero)
        return self._kept_inside(x), self._log_width(z) + within + log_distance

    def _kept_inside(self, x):
        """`x`, but no number that rounding has put on an end, or beyond all numbers."""
        first, last = _ends(self._low, self._high, np.dtype(keras.backend.standardize_dtype(x.dtype)))
        kept = minimum(maximum(x, self._finite(first, x)), self._finite(last, x))
        return ops.where(self._below | self._above, kept, x)

    def _finite(self, bounds, x):
        return ops.convert_to_tensor(np.where(np.isfinite(bounds), bounds, 0.0), dtype=x.dtype)

    def _log_width(self, x):
        return ops.convert_to_tensor(np.log(self._width), dtype=x.dtype)

    def get_config(self) -> dict[str, Any]:
        ends = [[_stored(column.low), _stored(column.high)] for column in self.columns]
        return {**super().get_config(), "domains": ends}


def interval(domain: Any, number: int) -> Domain:
    """The interval that `domain` names, as an argument for column `number`. Raises ValueError for what is none."""
    if isinstance(domain, str | Domain) and domain in ("circular", Domain.CIRCLE):
        raise ValueError(
            f"the domain of column {number}: expected an interval, received the circle, which no map takes onto the "
            "line. Circular flows (flowkit.transforms.CircularRationalQuadratic) take angles as they are."
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


def _ends(low, high, dtype):
    """The first and the last number strictly between, in a type; none that an engine would flush to zero."""
    low, high, tiny = low.astype(dtype), high.astype(dtype), np.finfo(dtype).tiny
    first = np.maximum(np.nextafter(low, high), low + tiny)
    return first, np.minimum(np.nextafter(high, low), high - tiny)
