"""The types of the columns of a mixed table: numbers, dates or categories, checked, and as codes of a flow.

A code is a real number, a whole number from 0 up, or NaN for a missing entry: what `DequantizeColumns` takes.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np

from flowkit.data.category import Category
from flowkit.data.entries import (
    as_native,
    microseconds,
    moment_in,
    moments_of,
    number_in,
    numbers_of,
    read_entries,
    series_of,
    type_named,
)

UNITS = {"D": "days", "h": "hours", "m": "minutes", "s": "seconds"}


@dataclass(frozen=True)
class Number:
    """Numbers: real ones of a domain, or those recorded in steps, `low`, `low + step`, ..., `low + (levels - 1) step`.

    Codes are numbers above `low`. It is also nonzero for real numbers far from 0, whose differences float32 would lose,
    and an int for a column of whole numbers, so that those beyond 2^53 are exact.

    - `domain`: of real numbers, as for `flowkit.bijectors.Unconstrain`; in steps "real", or "circular".
    - `decimals`: d for steps of 10^-d; None for real numbers. `rounded`: decimals of real numbers, to which samples are
      rounded; None for all digits.
    - `dtype`: of the column, in narwhals's words. `missing`: whether entries may be missing.
    - `quantiles`: of the codes that were seen, from which `Flow.impute` draws.
    - `native`: the column's type in pandas's words, which tell "Int64" from "int64"; "" for other libraries.
    - `listed`: the steps above `low` that occur, if they are few. Codes are then places in this list.
    - `distinct`: True if no whole number occurs twice, as in a column that numbers the rows.
    - `measured`: True if new rows are likely to hold other numbers than the data. Between two steps below 1 a number
      then has the code of the nearest.
    - `atoms`: single numbers with a probability of their own beside the others, such as 0 of rain. The code of a real
      one is itself, above `low`; in steps, atoms are no levels, and have the codes `levels`, `levels + 1`, ...
      `shares`: of the entries that are not missing, for each atom. The other fields leave atoms out.
    """

    domain: Any
    low: float = 0.0
    levels: int = 0
    decimals: int | None = None
    dtype: str = "Float64"
    missing: bool = False
    quantiles: tuple[float, ...] = ()
    native: str = ""
    listed: tuple[int, ...] = ()
    rounded: int | None = None
    distinct: bool = False
    measured: bool = False
    atoms: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def coding(self) -> Any:
        """Return the column in the words of `DequantizeColumns`."""
        if self.decimals is None:
            if not self.low or self.domain == "real":
                return self.domain
            ends = tuple(end - self.low for end in bounds_of(self.domain))
            return ("circular", *ends) if _is_circular(self.domain) else ends
        return ("cycle" if self.domain == "circular" else "whole", len(self.listed) or self.levels)

    missing_code = math.nan

    @property
    def step(self) -> float:
        return 10.0**-self.decimals if self.decimals else 1

    @property
    def atom_codes(self) -> tuple[float, ...]:
        if self.decimals is None:
            return tuple(float(atom - self.low) for atom in self.atoms)
        return tuple(float(self.levels + place) for place in range(len(self.atoms)))

    def codes(self, series: Any) -> np.ndarray:
        """Return codes, NaN for missing entries and infinity for those that the type excludes."""
        values = self._numbers(series)
        codes, right = self._real_codes(values) if self.decimals is None else self._whole_codes(values)
        codes = np.where(np.isnan(values), math.nan, np.where(right, codes, math.inf))
        scaled, near = values / self.step, 0 if self.decimals is None else 1e-3
        nearest = np.round(scaled) if self.measured and self.decimals else scaled
        for step, code in zip(self._atom_steps, self.atom_codes, strict=True):
            codes[(np.abs(scaled - step) <= near) | (nearest == step)] = code
        return codes

    def _real_codes(self, values):
        """Return (codes of numbers above `low`, which of them are in the domain)."""
        low, high = (end - self.low for end in bounds_of(self.domain))
        right = (values > low) & (values < high)
        if _is_circular(self.domain):
            right |= (values == low) | (values == high)
        return values, right

    def _whole_codes(self, values):
        """Return (codes of numbers above `low`, which of them are on a step of the range)."""
        with np.errstate(invalid="ignore"):  # infinite entries are off all steps
            scaled = values / self.step
            codes = np.round(scaled)
            between = self.measured and self.decimals > 0
            right = np.isfinite(scaled) if between else np.abs(scaled - codes) < 1e-3
        if self.domain == "circular":
            codes = np.where(codes == self.levels, 0.0, codes)
        gaps = self._gaps
        right &= (codes >= 0) & (codes < self.levels + len(gaps))
        if self.listed:
            right &= np.isin(codes, self.listed)
            return np.searchsorted(self.listed, codes), right
        return codes - np.searchsorted(gaps, codes), right

    @property
    def expected(self) -> str:
        """Return in words what an entry may be."""
        either = "".join(f", or {atom:.10g}" for atom in self.atoms)
        if self.decimals is None:
            low, high = bounds_of(self.domain)
            return f"a number in ({low:g}, {high:g}){either}"
        if self.listed:
            return f"one of the {len(self.listed)} values of the training data, {self.span}"
        return f"{self._span(0, self.levels - 1)} in steps of {self.step:g}, the range of the column{either}"

    def _steps(self, codes):
        """Return the steps above `low` of codes."""
        if self.atoms and self.decimals is not None:
            gaps = self._gaps
            return codes + np.searchsorted(gaps - np.arange(len(gaps)), codes, side="right")
        if not self.listed:
            return codes
        places = np.clip(np.nan_to_num(codes), 0, len(self.listed) - 1).astype(int)
        return np.where(np.isnan(codes), math.nan, np.asarray(self.listed)[places])

    @property
    def _atom_steps(self):
        """Return the steps above `low` of atoms, which may lie between steps; of real atoms their codes."""
        steps = [float(atom - self.low) / self.step for atom in self.atoms]
        on = [self.decimals is not None and abs(step - round(step)) < 1e-3 for step in steps]
        return [round(step) if whole else step for step, whole in zip(steps, on, strict=True)]

    @property
    def _gaps(self):
        """Return the steps of atoms that lie among the levels, in order."""
        steps = sorted(step for step in self._atom_steps if isinstance(step, int) and step >= 0)
        return np.array([step for place, step in enumerate(steps) if step - place < self.levels], int)

    def _atoms_at(self, codes):
        """Return the place in `atoms` of each code, -1 for numbers and missing entries."""
        found = np.full(np.shape(codes), -1)
        for place, code in enumerate(self.atom_codes):
            found[np.asarray(codes, "float32") == np.float32(code)] = place
        return found

    def numbers_among(self, codes: np.ndarray) -> np.ndarray:
        """Return the codes that are numbers: neither atoms nor missing."""
        return codes[~np.isnan(codes) & (self._atoms_at(codes) < 0)]

    def _with_atoms(self, numbers, codes):
        """Return numbers with atoms in place of those whose codes are atoms."""
        places = self._atoms_at(codes)
        return np.where(places < 0, numbers, np.array([*self.atoms, 0.0])[places])

    def drawable(self, codes: np.ndarray) -> np.ndarray:
        """Return codes as numbers on an axis."""
        return self._with_atoms(self.low + self._steps(codes) * self.step, codes)

    def entries(self, codes: np.ndarray, library: str) -> Any:
        """Return the column's entries of codes, as a narwhals series without a name."""
        values = self._steps(codes.astype("float64"))
        if self.decimals is not None:
            values = np.round(values) * self.step
        if "Int" in self.dtype:
            pairs = zip(values, self._atoms_at(codes), strict=True)
            whole = [None if math.isnan(value) else self._whole(value, atom) for value, atom in pairs]
            return series_of(whole, self, library)
        values = values + self.low
        if self.decimals is not None:
            values = np.round(values, self.decimals)
        elif self.rounded is not None:
            values = self._with_few_digits(values)
        values = self._with_atoms(values, codes)
        found = nw.new_series("", values, nw.Float64(), backend=library)
        if library == "polars":
            return found.fill_nan(None).cast(type_named(self.dtype))
        if self.native:
            return as_native(found, self.native)
        return found if np.isnan(values).any() else found.cast(type_named(self.dtype))

    def _with_few_digits(self, values):
        """Return real numbers with as many decimals as the data, except those that rounding moves out of the domain."""
        low, high = bounds_of(self.domain)
        near = np.round(values, self.rounded)
        return np.where((near > low) & (near < high) & ~np.isin(near, self.atoms), near, values)

    def _whole(self, code, atom):
        """Return the whole number nearest to `low + code` in the domain that a column of `dtype` holds.

        `atom`: the place of the atom that it is instead, or -1.
        """
        if atom >= 0:
            return int(self.atoms[atom])
        bits, signed = int(self.dtype.partition("Int")[2]), self.dtype.startswith("Int")
        least, most = -(2 ** (bits - 1)) * signed, 2 ** (bits - signed) - 1
        low, high = (-math.inf, math.inf) if self.decimals is not None else bounds_of(self.domain)
        if math.isfinite(low):
            least = max(least, math.floor(low) + 1)
        if math.isfinite(high):
            most = min(most, math.ceil(high) - 1)
        return min(max(int(self.low) + round(code), least), most)

    def features(self, codes: np.ndarray) -> list[np.ndarray]:
        """Return what networks see of codes that are a context: numbers, angles as cosine and sine, indicators."""
        absent, middle = np.isnan(codes), self.quantiles[len(self.quantiles) // 2]
        places = self._atoms_at(codes)
        filled = self._steps(np.where(absent | (places >= 0), middle, codes))
        if _is_circular(self.domain):
            low, high = (0, self.levels) if self.decimals is not None else bounds_of(self.coding)
            angle = 2 * math.pi * (filled - low) / (high - low)
            found = [np.cos(angle), np.sin(angle)]
        else:
            found = [np.log(filled)] if self.domain == "positive" else [filled]
        cases = [absent] * self.missing + [places == place for place in range(len(self.atoms))]
        return [*found, *(case.astype("float64") for case in cases)]

    @property
    def recorded(self) -> "Number":
        """Return the type without proposals of sentinels, atoms farther from the numbers than these are apart."""
        first, last = self.low + self._steps(np.array(self._ends)) * self.step
        far = [max(first - atom, atom - last) > last - first for atom in self.atoms]
        return replace(self, shares=tuple(np.where(far, 0.0, self.shares).tolist()))

    @property
    def _ends(self):
        """Return the least and the largest code of a number that was seen."""
        if self.decimals is None:
            return self.quantiles[0], self.quantiles[-1]
        return math.floor(self.quantiles[0]), math.ceil(self.quantiles[-1]) - 1

    def proposals(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return codes drawn from those that were seen, but for their order: atoms by shares, others by quantiles."""
        codes = np.interp(rng.random(shape), np.linspace(0, 1, len(self.quantiles)), self.quantiles)
        codes = codes if self.decimals is None else np.floor(codes)
        if self.atoms:
            places = np.searchsorted(np.cumsum(self.shares), rng.random(shape), side="right")
            codes = np.where(places < len(self.atoms), np.array([*self.atom_codes, 0.0])[places], codes)
        return codes

    def proposed(self, codes: np.ndarray) -> np.ndarray:
        """Return which codes are among those that `proposals` draws."""
        atoms = np.array([*self.shares, 0.0])[self._atoms_at(codes)] > 0
        return atoms | ((codes >= self._ends[0]) & (codes < self.quantiles[-1]))

    def log_share(self, codes: np.ndarray) -> np.ndarray:
        """Return the log-density of `proposals`; of atoms and whole numbers the logarithm of their probability."""
        places = self._atoms_at(codes)
        shares = np.array([*self.shares, 1 - sum(self.shares)])
        return np.log(np.maximum(shares, 1e-300))[places] + np.where(places < 0, self._log_share(codes), 0.0)

    def _log_share(self, codes):
        """Return the log-density of numbers that `proposals` draws by quantiles."""
        ends = np.asarray(self.quantiles)
        ends = np.maximum.accumulate(ends + np.arange(len(ends)) * 1e-9 * max(np.ptp(ends), 1e-9))
        grid = np.linspace(0, 1, len(ends))
        if self.decimals is not None:
            return np.log(np.maximum(np.interp(codes + 1, ends, grid) - np.interp(codes, ends, grid), 1e-12))
        place = np.clip(np.searchsorted(ends, codes, side="right") - 1, 0, len(ends) - 2)
        return np.log(np.diff(grid)[place] / np.diff(ends)[place])

    def _numbers(self, series):
        """Return numbers above `low`, NaN for missing entries and infinity for words."""
        if series.dtype.is_numeric() or series.dtype == nw.Boolean:
            return numbers_of(series, self.low)
        return read_entries(series, lambda entry: float(number_in(entry) - self.low))

    @property
    def span(self) -> str:
        """Return the range in words."""
        if self.decimals is None:
            low, high = bounds_of(self.domain)
            return f"{low:g} to {high:g}" if math.isfinite(high - low) and self.domain != "circular" else ""
        if self.measured:  # the range of the data
            return f"{self._span(*self._ends)}, or beyond"
        return self._span(0, self.levels - 1)

    def _span(self, first, last):
        first, last = (self._steps(np.float64(code)) for code in (first, last))
        if self.decimals == 0:  # in whole numbers, of which float64 does not hold all
            first, last = (int(self.low) + int(code) * int(self.step) for code in (first, last))
            form = ""
        else:
            first, last = (self.low + code * self.step for code in (first, last))
            form = f".{self.decimals}f"
        comma = "," if max(-first, last) >= 10_000 else ""  # none in years
        return f"{first:{comma}{form}} to {last:{comma}{form}}"

    @property
    def word(self) -> str:
        """Return the type in a few words."""
        shares = (f"{100 * share:.{int(share < 0.01)}f} %" for share in self.shares)
        atoms = ", ".join(f"{atom:.10g} ({share})" for atom, share in zip(self.atoms, shares, strict=True))
        return self._word + (f", or {atoms}" if atoms else "")

    @property
    def _word(self):
        circular = "circular, " if _is_circular(self.domain) else ""
        if self.listed:
            return f"{len(self.listed)} values"
        if self.decimals is not None:
            return circular + ("whole" if self.decimals == 0 else f"steps of {self.step:g}")
        if circular or isinstance(self.domain, str):
            return "circular" if circular else self.domain
        low, high = bounds_of(self.domain)
        return (
            "bounded" if math.isfinite(high - low) else f"above {low:g}" if low > -high else f"below {high:g}"
        )


@dataclass(frozen=True)
class Date(Number):
    """Dates and times as numbers of a `unit`, "D", "h", "m" or "s", since `origin`.

    Those of more than 2^20 units are real numbers of days.
    """

    unit: str = "D"
    origin: str = "1970-01-01"
    zone: str | None = None

    def _numbers(self, series):
        if series.dtype not in (nw.Datetime, nw.Date):
            return read_entries(
                series, lambda entry: self._since(moment_in(entry, aware=self.zone is not None))
            )
        zone = getattr(series.dtype, "time_zone", None)
        if (zone is None) != (self.zone is None):
            cure = "tz_localize" if zone is None else "tz_convert('UTC').dt.tz_localize(None)"
            received = "no time zone" if zone is None else zone
            raise ValueError(
                f"{received}, expected {self.expected}. Convert them, as pandas' dt.{cure} does."
            )
        return self._since(moments_of(series))

    def _since(self, moments):
        """Return moments as numbers of the unit since the origin."""
        return (moments.astype("datetime64[us]") - np.datetime64(self.origin, "us")) / np.timedelta64(
            1, self.unit
        )

    @property
    def expected(self) -> str:
        steps = "" if self.decimals is None else f", {super().expected}"
        return (
            f"dates or times {'without' if self.zone is None else 'with'} a time zone, as in training{steps}"
        )

    def drawable(self, codes: np.ndarray) -> np.ndarray:
        origin = (np.datetime64(self.origin, "us") - np.datetime64(0, "us")) / np.timedelta64(1, "D")
        return origin + (self.low + self._steps(codes)) * microseconds(self.unit) / microseconds("D")

    def entries(self, codes: np.ndarray, library: str) -> Any:
        absent = np.isnan(codes)
        number = np.where(absent, 0.0, self._steps(codes.astype("float64")))
        since = np.rint((number + self.low) * microseconds(self.unit))
        moments = np.datetime64(self.origin, "us") + since.astype("int64").astype("timedelta64[us]")
        moments[absent] = np.datetime64("NaT", "us")
        found = nw.new_series("", moments, backend=library)
        if self.dtype == "Date":  # which pandas has in columns of pyarrow alone
            return found.cast(nw.Date()) if library == "polars" else as_native(found, self.native)
        found = found.cast(nw.Datetime(self.dtype))
        if self.zone is None:
            return found
        return found.dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone)

    def _moment(self, number):
        micro = np.timedelta64(int(number * microseconds(self.unit)), "us")
        return (np.datetime64(self.origin, "us") + micro).astype(f"datetime64[{self.unit}]")

    @property
    def span(self) -> str:
        return "" if self.decimals is None else super().span

    def _span(self, first, last):
        return f"{self._moment(self.low + first)} to {self._moment(self.low + last)}"

    @property
    def word(self) -> str:
        count = f"{len(self.listed)} " if self.listed else ""
        return "dates, real days" if self.decimals is None else f"{count}dates, {UNITS[self.unit]}"


ColumnType = Number | Category


def bounds_of(domain: Any) -> tuple[float, float]:
    """Return (low, high) of a domain of `Unconstrain`.

    >>> bounds_of("positive"), bounds_of(("circular", 0, 24))
    ((0.0, inf), (0.0, 24.0))
    """
    words = {"real": (-math.inf, math.inf), "positive": (0.0, math.inf), "circular": (-math.pi, math.pi)}
    low, high = words[domain] if isinstance(domain, str) else domain[-2:]
    return float(low), float(high)


def _is_circular(domain):
    return domain == "circular" or (not isinstance(domain, str) and domain[0] == "circular")
