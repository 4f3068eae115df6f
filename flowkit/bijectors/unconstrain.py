"""The columns of a table, each from its own interval, onto the real line; angles onto the circle of radius 1."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.elementwise import Elementwise
from flowkit.contract import BijectorSpec, ContractError, Domain
from flowkit.contract.arguments import shown
from flowkit.engines import engine
from flowkit.numerics import log_sigmoid, maximum, minimum
from flowkit.transforms.rational_quadratic import wrapped


@keras.saving.register_keras_serializable("flowkit")
class Unconstrain(Elementwise):
    """Each column from its domain onto the real line, by a logarithm or a logit.

    - "real", or (-inf, inf): z = x.
    - "positive", or (low, inf): z = log(x - low). (-inf, high): z = -log(high - x).
    - (low, high): z = log(x - low) - log(high - x).
    - ("circular", low, high), a circle on which high is low again: z = 2 pi (x - low) / (high - low) - pi, an angle in
      [-pi, pi). "circular" is such an angle itself, z = x.

    `domains` has one of these, or a `Domain` that is an interval or a circle, for each column. The inverse stays
    inside, strictly so of an interval, however far out z is: what a flow draws, it can score. Raises ValueError for
    what is neither, and ContractError for data of another number of columns.

    >>> x = ops.convert_to_tensor([[-3.0, 0.5, 0.25]])
    >>> z, log_det = Unconstrain(["real", "positive", (0.0, 1.0)])(x)
    >>> [round(float(n), 4) for n in ops.convert_to_numpy(z)[0]]  # x, log(x), log(x / (1 - x))
    [-3.0, -0.6931, -1.0986]
    """

    def __init__(self, domains: Iterable[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(domains, str | Domain) or not isinstance(domains, Iterable):
            raise ValueError(
                f"Unconstrain expects a list of domains, one a column, received {shown(domains)}."
            )
        self.columns = [domain_of_column(domain, number) for number, domain in enumerate(domains)]
        if not self.columns:
            raise ValueError("Unconstrain expects a list of domains, one a column, received none.")
        self.circular = any(column.kind == "circle" for column in self.columns)
        unmoved = all(column in (Domain.REAL, Domain.CIRCLE) for column in self.columns)
        self.spec = BijectorSpec(
            domain=Domain.each(*self.columns),
            codomain=Domain.each(
                *(Domain.CIRCLE if c.kind == "circle" else Domain.REAL for c in self.columns)
            ),
            log_det="zero" if unmoved else "varying",
        )
        # To the maps of intervals a circle is a column that is not bounded.
        self._bounds = tuple(
            (-math.inf, math.inf) if c.kind == "circle" else (c.low, c.high) for c in self.columns
        )
        self._turns = tuple((c.low, c.high) if c.kind == "circle" else None for c in self.columns)
        # As a file can hold them: None for infinity.
        self.domains = [
            ["circular", c.low, c.high]
            if c.kind == "circle"
            else [end if math.isfinite(end) else None for end in (c.low, c.high)]
            for c in self.columns
        ]

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
        log_det = self._constant(_log_width, x) - log_below - log_above
        if not self.circular:
            return z, log_det
        center, radius, circular = (self._turn(given, x) for given in (_center, _radius, _is_circular))
        # Wrapped: rounding may bring the last numbers before the end of a circle to pi.
        return ops.where(circular > 0, wrapped((x - center) / radius), z), log_det - ops.log(radius)

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
        log_det = log_width + ops.where(both, log_from_low + log_from_high, zero) + log_distance
        if not self.circular:
            return x, log_det
        center, radius, circular = (self._turn(given, z) for given in (_center, _radius, _is_circular))
        first, last = (self._turn(given, z, dtype) for given in (_first_of_circle, _last_of_circle))
        turned = z * radius + center
        turned = ops.where(turned < first, first, ops.where(turned > last, last, turned))
        return ops.where(circular > 0, turned, x), log_det + ops.log(radius)

    def _constant(self, function, x, *more):
        """Numbers of the columns, once on each device: a copy to it in each pass would cost more than the map."""
        return engine.constant(function, self._bounds, *more, like=x)

    def _turn(self, function, x, *more):
        """Return the same of circles."""
        return engine.constant(function, self._turns, *more, like=x)

    def _sides(self, x):
        """Return which columns are bounded below, above, and on both sides."""
        below, above = (self._constant(function, x) > 0 for function in (_is_below, _is_above))
        return below, above, ops.logical_and(below, above)


def domain_of_column(domain: Any, number: int) -> Domain:
    """The interval or circle that `domain` names, as an argument for column `number`. Raises ValueError for others."""
    if isinstance(domain, Domain) and domain.kind in ("interval", "circle") and domain.columns is None:
        return domain
    words = {"real": Domain.REAL, "positive": Domain.POSITIVE, "circular": Domain.CIRCLE}
    if isinstance(domain, str) and domain in words:
        return words[domain]
    try:
        kind, *ends = domain if isinstance(domain[0], str) else ("interval", *domain)
        low, high = (float("nan") if isinstance(end, str | bool) else end for end in ends)
        low, high = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    except (TypeError, ValueError, IndexError, KeyError):
        kind, low, high = "", math.nan, math.nan
    finite = math.isfinite(low) and math.isfinite(high)
    if not low < high or not (kind == "interval" or (kind == "circular" and finite)):
        raise ValueError(
            f"the domain of column {number}: expected 'real', 'positive', (low, high), 'circular', which is an angle "
            f"in [-pi, pi), or ('circular', low, high), with low < high, received {shown(domain)}."
        )
    return Domain.interval(low, high) if kind == "interval" else Domain.circle(low, high)


def _ends(bounds):
    """Return (low, high) of all columns, as arrays."""
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
    """Return the first number strictly inside, in a type; none that an engine would flush to zero."""
    low, high = _ends(bounds).astype(dtype)
    return np.maximum(np.nextafter(low, high), low + np.finfo(dtype).tiny)


def _last(bounds, dtype):
    """Return the last one."""
    low, high = _ends(bounds).astype(dtype)
    return np.minimum(np.nextafter(high, low), high - np.finfo(dtype).tiny)


def _turned(turns):
    """Return (low, high) of all columns, as arrays; those of `Domain.CIRCLE` for columns that are no circle."""
    return np.array([(-math.pi, math.pi) if turn is None else turn for turn in turns]).T


def _is_circular(turns):
    return np.array([turn is not None for turn in turns])


def _center(turns):
    low, high = _turned(turns)
    return (low + high) / 2


def _radius(turns):
    """Return the length for which a circle has one radian."""
    low, high = _turned(turns)
    return (high - low) / (2 * math.pi)


def _first_of_circle(turns, dtype):
    """Return the first number of a type that is not before a circle's lower end."""
    low, high = _turned(turns)
    near = low.astype(dtype)
    return np.where(near.astype("float64") < low, np.nextafter(near, high.astype(dtype)), near)


def _last_of_circle(turns, dtype):
    """Return the last one that is before its upper end."""
    low, high = _turned(turns)
    near = high.astype(dtype)
    return np.where(near.astype("float64") >= high, np.nextafter(near, low.astype(dtype)), near)
