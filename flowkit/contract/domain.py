"""Sets that bijectors map from and onto."""

import math
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from keras import ops

from flowkit.contract.shapes import Tensor


@dataclass(frozen=True, repr=False)
class Domain:
    """A set of events: an interval, whole numbers or the circle for each entry, or the simplex.

    `Domain.REAL`, `Domain.POSITIVE`, `Domain.UNIT_INTERVAL`, `Domain.interval(a, b)`,
    `Domain.CIRCLE` (angles in [-pi, pi)) and `Domain.SIMPLEX` (positive entries on the last axis
    that sum to 1), `Domain.whole(a, b)` (the whole numbers from a to b), `Domain.circle(a, b)` (a circle on which b is
    a again), `Domain.intervals((a, b), (c, d))` (an interval for each entry of the last axis: the columns of a table),
    `Domain.each(Domain.REAL, Domain.CIRCLE)` (an interval, a circle or whole numbers for each). Intervals are open.
    `Domain.POSITIVE.also(0.0)` is a set and single numbers.

    >>> Domain.POSITIVE.contains(ops.convert_to_tensor([[1.0, -1.0]]))
    False
    >>> Domain.interval(0, 1) == Domain.UNIT_INTERVAL
    True
    """

    kind: Any = "interval"  # a word; a tuple of one for each entry of the last axis, if some are circles
    low: Any = -math.inf  # one number, or a tuple of one for each entry of the last axis
    high: Any = math.inf
    atoms: Any = ()  # single numbers beside the interval; a tuple of them for each entry of the last axis, if any has

    REAL: ClassVar["Domain"]
    POSITIVE: ClassVar["Domain"]
    UNIT_INTERVAL: ClassVar["Domain"]
    CIRCLE: ClassVar["Domain"]
    SIMPLEX: ClassVar["Domain"]

    @classmethod
    def interval(cls, low: float, high: float) -> "Domain":
        """Return the open interval (low, high) for each entry; raises ValueError unless low < high."""
        if not low < high:
            raise ValueError(f"Domain.interval: got ({low}, {high}), expected low < high.")
        return cls("interval", float(low), float(high))

    @classmethod
    def intervals(cls, *bounds: tuple[float, float]) -> "Domain":
        """Return an open interval (low, high) for each entry of the last axis; a plain one if they are all the same.

        >>> Domain.intervals((0, 1), (0, 1)) == Domain.UNIT_INTERVAL
        True
        """
        return cls.each(*(cls.interval(low, high) for low, high in bounds))

    @classmethod
    def circle(cls, low: float, high: float) -> "Domain":
        """Return the circle [low, high), whose ends are one point, for each entry."""
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"Domain.circle: got ({low}, {high}), expected finite low < high.")
        return cls("circle", float(low), float(high))

    @classmethod
    def each(cls, *columns: "Domain") -> "Domain":
        """Return the set of each entry of the last axis; a plain one if they are all the same.

        >>> print(Domain.each(Domain.REAL, Domain.circle(0, 24)))
        Domain.each(Domain.REAL, Domain.circle(0, 24))
        """
        if not columns or any(c.kind not in ("interval", "circle", "whole") or c.columns for c in columns):
            raise ValueError(
                f"Domain.each: got {columns or 'no columns'}, expected an interval, a circle or whole numbers for each "
                "column."
            )
        low, high, atoms = (tuple(getattr(c, end) for c in columns) for end in ("low", "high", "atoms"))
        if len(set(columns)) == 1:
            return columns[0]
        kinds = tuple(c.kind for c in columns)
        atoms = atoms if any(atoms) else ()
        return cls("interval" if set(kinds) == {"interval"} else kinds, low, high, atoms)

    def also(self, *atoms: float) -> "Domain":
        """Return the set of each entry with single numbers besides, which `from_real` does not draw.

        >>> Domain.POSITIVE.also(0.0).contains(ops.convert_to_tensor([[1.0, 0.0]]))
        True
        """
        return replace(self, atoms=tuple(map(float, atoms)))

    @property
    def columns(self) -> "list[Domain] | None":
        """Return the set of each entry of the last axis; None if it is the same set for all."""
        if not isinstance(self.low, tuple):
            return None
        kinds = self.kind if isinstance(self.kind, tuple) else ("interval",) * len(self.low)
        atoms = self.atoms or ((),) * len(self.low)
        return [Domain(*column) for column in zip(kinds, self.low, self.high, atoms, strict=True)]

    @classmethod
    def whole(cls, low: float, high: float) -> "Domain":
        """Return the whole numbers from low to high for each entry; raises ValueError unless low < high."""
        if not (low == int(low) and high == int(high) and low < high):
            raise ValueError(f"Domain.whole: got ({low}, {high}), expected whole numbers low < high.")
        return cls("whole", float(low), float(high))

    def contains(self, x: Tensor) -> Tensor:
        """Return True if every entry of the (batch, *event) tensor `x` lies inside; NaN never does."""
        return bool(self.inside(ops.convert_to_numpy(x)).all())

    @property
    def kinds(self) -> np.ndarray:
        """Return the kind of each column; one for all entries if it is the same set for all."""
        return np.array([column.kind for column in self.columns or [self]])

    def inside(self, x: np.ndarray, slack: float | np.ndarray = 0.0) -> np.ndarray:
        """Return which entries lie inside, up to `slack`, as an array of bools; of a row on no simplex none does."""
        if self.kind == "simplex":
            # Each entry is off by a rounding error of its own, and so is their sum.
            off = np.abs(x.sum(axis=-1, keepdims=True) - 1) - 8 * x.shape[-1] * np.finfo(x.dtype).eps
            return (x >= -slack) & (off <= np.sum(np.broadcast_to(slack, x.shape), axis=-1, keepdims=True))
        low, high = (np.asarray(end, x.dtype) for end in (self.low, self.high))
        whole = self.kinds == "whole"
        slack = np.where(whole, np.minimum(slack, 0.25), slack)
        above = np.where(self.kinds == "interval", x > low - slack, x >= low - slack)
        below = np.where(whole, x <= high + slack, x < high + slack)
        with np.errstate(invalid="ignore"):  # infinity has no fraction
            found = above & below & (~whole | (np.abs(x - np.round(x)) <= slack))
        for place, column in enumerate((self.columns or [self]) if self.atoms else ()):
            some = (..., place) if self.columns else ...
            found[some] |= np.isin(x[some], np.asarray(column.atoms, x.dtype))
        return found

    def from_real(self, t: Tensor) -> Tensor:
        """Return points of the domain, one for each real tensor `t` of the same shape: how checkers draw."""
        if self.columns is not None:
            drawn = [column.from_real(t[..., i]) for i, column in enumerate(self.columns)]
            return ops.stack(drawn, axis=-1)
        if self.kind == "simplex":
            return ops.softmax(t, axis=-1)
        if self.kind == "whole":
            steps = self.high - self.low
            return self.low + ops.minimum(ops.floor((steps + 1) * ops.sigmoid(t)), steps)
        if math.isinf(self.low) and math.isinf(self.high):
            return t
        if math.isinf(self.high):
            return self.low + ops.softplus(t)
        if math.isinf(self.low):
            return self.high - ops.softplus(t)
        return self.low + (self.high - self.low) * ops.sigmoid(t)

    def constraint(self, rank: int, constraints: ModuleType) -> object:
        """Return the set of events with `rank` axes as PyTorch and NumPyro describe it; a circle as an interval.

        `constraints` is the module of one of the two: their constraints have the same names.
        """
        if self.kind == "simplex":
            return constraints.simplex
        if self.columns is not None:
            columns = [column.constraint(0, constraints) for column in self.columns]
            return constraints.independent(constraints.cat(columns, dim=-1), rank)
        if self.atoms:
            entry = constraints.real  # which holds them too
        elif math.isfinite(self.low) and math.isfinite(self.high):
            entry = constraints.interval(self.low, self.high)
        elif math.isfinite(self.low):
            entry = constraints.greater_than(self.low)
        else:
            entry = constraints.less_than(self.high) if math.isfinite(self.high) else constraints.real
        return constraints.independent(entry, rank) if rank else entry

    def __repr__(self):
        for name in ("REAL", "POSITIVE", "UNIT_INTERVAL", "CIRCLE", "SIMPLEX"):
            if self == getattr(Domain, name):
                return f"Domain.{name}"
        if self.columns is not None:
            columns = [str(column) for column in self.columns]
            return f"Domain.each({', '.join(columns[:4])}{', ...' if len(columns) > 4 else ''})"
        if self.atoms:
            return f"{replace(self, atoms=())}.also({', '.join(f'{atom:g}' for atom in self.atoms)})"
        return f"Domain.{self.kind}({self.low:g}, {self.high:g})"


def first_and_last(low: Any, high: Any, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest number of a dtype inside the open interval (low, high).

    Skip subnormal numbers, which JAX flushes to zero.

    >>> [float(number) for number in first_and_last(0.0, 2.0, "float32")]
    [1.1754943508222875e-38, 1.9999998807907104]
    """
    low, high = np.asarray(low, dtype), np.asarray(high, dtype)
    tiny = np.finfo(dtype).tiny
    return np.maximum(np.nextafter(low, high), low + tiny), np.minimum(np.nextafter(high, low), high - tiny)


Domain.REAL = Domain()
Domain.POSITIVE = Domain(low=0.0)
Domain.UNIT_INTERVAL = Domain(low=0.0, high=1.0)
Domain.CIRCLE = Domain("circle", -math.pi, math.pi)
Domain.SIMPLEX = Domain("simplex", 0.0, 1.0)
