"""The columns of a table, each from its own interval, onto the real line, angles onto the circle; and soft bounds."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

import keras
import numpy as np
from keras import ops

from flowkit.bijectors.elementwise import Elementwise
from flowkit.contract import BijectorSpec, Domain
from flowkit.contract.arguments import Between0And1, is_number, shown
from flowkit.contract.columns import check_count
from flowkit.contract.domain import first_and_last
from flowkit.engines import engine
from flowkit.numerics import log1mexp, log_sigmoid, maximum, minimum, softplus
from flowkit.transforms.splines import wrapped


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
                f"Unconstrain's domains: got {shown(domains)}, expected a list of domains, one for each column."
            )
        self.columns = [domain_of_column(domain, number) for number, domain in enumerate(domains)]
        if not self.columns:
            raise ValueError("Unconstrain's domains: got no domains, expected one for each column.")
        self.circular = any(column.kind == "circle" for column in self.columns)
        unmoved = all(column in (Domain.REAL, Domain.CIRCLE) for column in self.columns)
        ends = [Domain.CIRCLE if column.kind == "circle" else Domain.REAL for column in self.columns]
        self.spec = BijectorSpec(
            domain=Domain.each(*self.columns),
            codomain=Domain.each(*ends),
            log_det="zero" if unmoved else "varying",
        )
        self._sets = tuple((column.kind, column.low, column.high) for column in self.columns)
        self.domains = [as_listed(column) for column in self.columns]

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        check_count(self, x_shape, "as there are domains")

    def _forward(self, x):
        of = self._numbers(x)
        # A column that has no bound on a side has a distance of 1 from it: a logarithm of 0.
        log_below = ops.log(ops.where(of.below, x - of.low, ops.ones_like(x)))
        log_above = ops.log(ops.where(of.above, of.high - x, ops.ones_like(x)))
        z = ops.where(ops.logical_or(of.below, of.above), log_below - log_above, x)
        log_det = ops.log(of.width) - log_below - log_above
        if not self.circular:
            return z, log_det
        # Wrapped: rounding may bring the last numbers before the end of a circle to pi.
        turned = wrapped((x - of.center) / of.radius)
        return ops.where(of.circular, turned, z), log_det - ops.log(of.radius)

    def _inverse(self, z):
        of = self._numbers(z)
        both, zero = ops.logical_and(of.below, of.above), ops.zeros_like(z)
        # In an interval, from the nearer end: there a small distance keeps its digits.
        t = ops.where(both, z, zero)
        log_from_low, log_from_high = log_sigmoid(t), log_sigmoid(-t)
        from_low, from_high = of.width * ops.exp(log_from_low), of.width * ops.exp(log_from_high)
        between = ops.where(t > 0, of.high - from_high, of.low + from_low)
        # On a half-line.
        log_distance = ops.where(both, zero, ops.where(of.below, z, ops.where(of.above, -z, zero)))
        distance = ops.exp(log_distance)
        x = ops.where(of.below, of.low + distance, ops.where(of.above, of.high - distance, z))
        x = ops.where(both, between, x)
        log_det = ops.log(of.width) + ops.where(both, log_from_low + log_from_high, zero) + log_distance
        if self.circular:
            x = ops.where(of.circular, z * of.radius + of.center, x)
            log_det = log_det + ops.log(of.radius)
        # Rounding may have put a number on an end, or beyond all numbers.
        return minimum(maximum(x, of.first), of.last), log_det

    def _numbers(self, x):
        """Return what is known of the columns, as tensors like `x`."""
        # Constants, once on each device: a copy to it in each pass would cost more than the map.
        rows = engine.constant(numbers_of, self._sets, keras.backend.standardize_dtype(x.dtype), like=x)
        *numbers, below, above, circular = engine.unstack(rows)
        return _Numbers(*numbers, below > 0, above > 0, circular > 0)


class _Numbers(NamedTuple):
    """One number for each column: its ends, the first and the last number inside, and which kind it is."""

    low: Any
    high: Any
    width: Any
    center: Any
    radius: Any  # the length for which a circle has one radian
    first: Any
    last: Any
    below: Any  # bounded there
    above: Any
    circular: Any


def numbers_of(sets, dtype):
    """Return `_Numbers` of columns (kind, low, high) in a type; 0 for an end that does not exist, 1 for a length."""
    circular = np.array([kind == "circle" for kind, *_ in sets])
    ends = np.array([(low, high) for _, low, high in sets]).T
    low, high = np.where(np.isfinite(ends), ends, 0.0)
    below, above = np.isfinite(ends) & ~circular
    width = np.where(below & above, high - low, 1.0)
    center, radius = np.where(circular, [(low + high) / 2, (high - low) / (2 * math.pi)], [[0.0], [1.0]])
    near_low, near_high = ends.astype(dtype)
    up, down = np.nextafter(near_low, near_high), np.nextafter(near_high, near_low)
    first, last = first_and_last(*ends, dtype)
    # A circle has its lower end, and lacks the upper one.
    first = np.where(circular, np.where(near_low.astype("float64") < ends[0], up, near_low), first)
    last = np.where(circular, np.where(near_high.astype("float64") >= ends[1], down, near_high), last)
    free = ~(below | above | circular)
    first, last = np.where(free, -np.inf, first), np.where(free, np.inf, last)
    return np.stack([low, high, width, center, radius, first, last, below, above, circular])


def domain_of_column(domain: Any, number: int) -> Domain:
    """Return the interval or circle that `domain` names for column `number`. Raises ValueError for anything else."""
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
            f"the domain of column {number}: got {shown(domain)}, expected 'real', 'positive', (low, high), "
            "'circular', which is an angle in [-pi, pi), or ('circular', low, high), with low < high."
        )
    return Domain.interval(low, high) if kind == "interval" else Domain.circle(low, high)


def as_listed(domain: Domain) -> list[Any]:
    """Return an interval or a circle as `domain_of_column` takes it and a file can hold it: None for infinity."""
    if domain.kind == "circle":
        return ["circular", domain.low, domain.high]
    return [end if math.isfinite(end) else None for end in (domain.low, domain.high)]


def finite_bounds(bounds: Any, name: str) -> list[list[float]]:
    """Return pairs of numbers, low < high, one for each column. Raises ValueError for anything else."""
    try:
        pairs = [[low, high] for low, high in bounds]
    except (TypeError, ValueError):
        pairs = []
    if not pairs or not all(is_number(low) and is_number(high) and low < high for low, high in pairs):
        raise ValueError(f"{name}: got {shown(bounds)}, expected a list of finite (low, high), low < high.")
    return [[float(low), float(high)] for low, high in pairs]


class SoftBounds(Elementwise):
    """z = x + s log(1 - e^(-(x - low) / s)) - s log(1 - e^(-(high - x) / s)), from (low, high) onto the real line.

    s is `softness` times the width high - low of a column. Farther from the bounds than a few s it is the identity, and
    near them it is like a logit, which stretches the whole interval: a density that ends at a bound keeps its shape.
    Its inverse is x = low + s softplus((z - low) / s) - s softplus((z - high) / s), and

        log dz/dx = log(1 - e^(-1 / softness)) - log(1 - e^(-(x - low) / s)) - log(1 - e^(-(high - x) / s)).

    `bounds` has (low, high) for each column. The inverse stays strictly inside. Raises ValueError for bounds that are
    not finite and in order, and ContractError for data of another number of columns.

    >>> z, log_det = SoftBounds([(0.0, 10.0)])(ops.convert_to_tensor([[5.0], [0.1]]))
    >>> [round(float(n), 3) for n in (z[0, 0], z[1, 0], log_det[0])]
    [5.0, -0.278, 0.0]
    """

    def __init__(
        self,
        bounds: Annotated[Sequence[tuple[float, float]], finite_bounds],
        *,
        softness: Between0And1 = 0.03,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bounds, self.softness = bounds, softness
        self.spec = BijectorSpec(domain=Domain.intervals(*map(tuple, bounds)))
        self.columns = self._ends = tuple(map(tuple, bounds))
        self._log_middle = math.log(-math.expm1(-1 / softness))

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        check_count(self, x_shape, "as there are bounds")

    def _forward(self, x):
        low, high, scale, _, _ = self._numbers(x)
        from_low, from_high = log1mexp((x - low) / scale), log1mexp((high - x) / scale)
        return x + scale * (from_low - from_high), self._log_middle - from_low - from_high

    def _inverse(self, z):
        low, high, scale, first, last = self._numbers(z)
        above, below = (z - low) / scale, (high - z) / scale
        # From the nearer end, so that a small distance keeps its digits.
        from_low = low + scale * (softplus(above) - softplus(-below))
        from_high = high - scale * (softplus(below) - softplus(-above))
        x = ops.where(above < below, from_low, from_high)
        log_det = log_sigmoid(above) + log_sigmoid(below) + self._log_middle
        return minimum(maximum(x, first), last), log_det

    def _numbers(self, x):
        """Return the ends, the scale s, and the first and the last number inside, as tensors like `x`."""
        dtype = keras.backend.standardize_dtype(x.dtype)
        return engine.unstack(engine.constant(_rows, self._ends, self.softness, dtype, like=x))


def _rows(ends, softness, dtype):
    """Return low, high, s, and the first and the last number of a type inside, for each column."""
    low, high, width, _, _, first, last, *_ = numbers_of([("interval", *pair) for pair in ends], dtype)
    return np.stack([low, high, softness * width, first, last])
