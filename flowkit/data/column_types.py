"""The types of the columns of a mixed table: numbers, dates or categories, checked, and as codes of a flow.

A code is a real number, a whole number from 0 up, or NaN for a missing entry: what `DequantizeColumns` takes.
"""

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import narwhals as nw
import numpy as np

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

    def codes(self, series: Any) -> np.ndarray:
        """Return codes, NaN for missing entries and infinity for those that the type excludes."""
        values = self._numbers(series)
        if self.decimals is None:
            low, high = (end - self.low for end in bounds_of(self.domain))
            right = (values > low) & (values < high)
            if _is_circular(self.domain):
                right |= (values == low) | (values == high)
            return np.where(np.isnan(values) | right, values, math.inf)
        with np.errstate(invalid="ignore"):  # infinite entries are off all steps
            scaled = values / self.step
            codes = np.round(scaled)
            between = self.measured and self.decimals > 0
            right = np.isfinite(scaled) if between else np.abs(scaled - codes) < 1e-3
        if self.domain == "circular":
            codes = np.where(codes == self.levels, 0.0, codes)
        right &= (codes >= 0) & (codes < self.levels)
        if self.listed:
            right &= np.isin(codes, self.listed)
            codes = np.searchsorted(self.listed, codes)
        return np.where(np.isnan(values), math.nan, np.where(right, codes, math.inf))

    @property
    def expected(self) -> str:
        """Return in words what an entry may be."""
        if self.decimals is None:
            low, high = bounds_of(self.domain)
            return f"a number in ({low:g}, {high:g})"
        if self.listed:
            return f"one of the {len(self.listed)} values of the training data, {self.span}"
        return f"{self._span(0, self.levels - 1)} in steps of {self.step:g}, the range of the column"

    def _steps(self, codes):
        """Return the steps above `low` of codes."""
        if not self.listed:
            return codes
        places = np.clip(np.nan_to_num(codes), 0, len(self.listed) - 1).astype(int)
        return np.where(np.isnan(codes), math.nan, np.asarray(self.listed)[places])

    def drawable(self, codes: np.ndarray) -> np.ndarray:
        """Return codes as numbers on an axis."""
        return self.low + self._steps(codes) * self.step

    def entries(self, codes: np.ndarray, library: str) -> Any:
        """Return the column's entries of codes, as a narwhals series without a name."""
        values = self._steps(codes.astype("float64"))
        if self.decimals is not None:
            values = np.round(values) * self.step
        if "Int" in self.dtype:
            return _series(
                [None if math.isnan(value) else self._whole(value) for value in values], self, library
            )
        values = values + self.low
        if self.decimals is not None:
            values = np.round(values, self.decimals)
        elif self.rounded is not None:
            values = self._with_few_digits(values)
        found = nw.new_series("", values, nw.Float64(), backend=library)
        if library == "polars":
            return found.fill_nan(None).cast(_dtype(self.dtype))
        if self.native:
            return _as_native(found, self.native)
        return found if np.isnan(values).any() else found.cast(_dtype(self.dtype))

    def _with_few_digits(self, values):
        """Return real numbers with as many decimals as the data, except those that rounding moves out of the domain."""
        low, high = bounds_of(self.domain)
        near = np.round(values, self.rounded)
        return np.where((near > low) & (near < high), near, values)

    def _whole(self, code):
        """Return the whole number nearest to `low + code` in the domain that a column of `dtype` holds."""
        bits, signed = int(self.dtype.partition("Int")[2]), self.dtype.startswith("Int")
        least, most = -(2 ** (bits - 1)) * signed, 2 ** (bits - signed) - 1
        low, high = (-math.inf, math.inf) if self.decimals is not None else bounds_of(self.domain)
        if math.isfinite(low):
            least = max(least, math.floor(low) + 1)
        if math.isfinite(high):
            most = min(most, math.ceil(high) - 1)
        return min(max(int(self.low) + round(code), least), most)

    def features(self, codes: np.ndarray) -> list[np.ndarray]:
        """Return what networks see of codes that are a context: numbers, angles as cosine and sine, an indicator."""
        absent, middle = np.isnan(codes), self.quantiles[len(self.quantiles) // 2]
        filled = self._steps(np.where(absent, middle, codes))
        if _is_circular(self.domain):
            low, high = (0, self.levels) if self.decimals is not None else bounds_of(self.coding)
            angle = 2 * math.pi * (filled - low) / (high - low)
            found = [np.cos(angle), np.sin(angle)]
        else:
            found = [np.log(filled)] if self.domain == "positive" else [filled]
        return [*found, absent.astype("float64")] if self.missing else found

    def proposals(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return codes drawn from those that were seen, but for their order: by their quantiles."""
        codes = np.interp(rng.random(shape), np.linspace(0, 1, len(self.quantiles)), self.quantiles)
        return codes if self.decimals is None else np.floor(codes)

    def log_share(self, codes: np.ndarray) -> np.ndarray:
        """Return the log-density of `proposals`; of whole numbers the logarithm of their probability."""
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
        return _read(series, lambda entry: float(_number(entry) - self.low))

    @property
    def span(self) -> str:
        """Return the range in words."""
        if self.decimals is None:
            low, high = bounds_of(self.domain)
            return "" if isinstance(self.domain, str) else f"{low:g} to {high:g}"
        if self.measured:  # the range of the data
            first, last = (
                math.floor(min(end, self.levels - 1)) for end in (self.quantiles[0], self.quantiles[-1])
            )
            return f"{self._span(first, last)}, or beyond"
        return self._span(0, self.levels - 1)

    def _span(self, first, last):
        first, last = (self.low + code * self.step for code in (first, last))
        comma = "," if max(-first, last) >= 10_000 else ""  # none in years
        return f"{first:{comma}.{self.decimals}f} to {last:{comma}.{self.decimals}f}"

    @property
    def word(self) -> str:
        """Return the type in a word or two."""
        circular = "circular, " if _is_circular(self.domain) else ""
        if self.listed:
            return f"{len(self.listed)} values"
        if self.decimals is not None:
            return circular + ("whole" if self.decimals == 0 else f"steps of {self.step:g}")
        return circular.rstrip(", ") or (self.domain if isinstance(self.domain, str) else "bounded")


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
            return _read(series, lambda entry: self._since(_moment(entry, aware=self.zone is not None)))
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
        return origin + (self.low + self._steps(codes)) * _microseconds(self.unit) / _microseconds("D")

    def entries(self, codes: np.ndarray, library: str) -> Any:
        absent = np.isnan(codes)
        number = np.where(absent, 0.0, self._steps(codes.astype("float64")))
        since = np.rint((number + self.low) * _microseconds(self.unit))
        moments = np.datetime64(self.origin, "us") + since.astype("int64").astype("timedelta64[us]")
        moments[absent] = np.datetime64("NaT")
        found = nw.new_series("", moments, backend=library)
        if self.dtype == "Date":  # which pandas has in columns of pyarrow alone
            return found.cast(nw.Date()) if library == "polars" else _as_native(found, self.native)
        found = found.cast(nw.Datetime(self.dtype))
        if self.zone is None:
            return found
        return found.dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone)

    def _moment(self, number):
        micro = np.timedelta64(int(number * _microseconds(self.unit)), "us")
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


@dataclass(frozen=True)
class Category:
    """One of `values`, each a word, a number or True or False; `ordered` ones are coded as whole numbers.

    `shares`: how often each was seen, a missing entry last, from which `Flow.impute` draws. `unseen`: the share of new
    rows whose category is none of these.
    """

    values: tuple[Any, ...]
    ordered: bool = False
    dtype: str = "String"
    missing: bool = False
    shares: tuple[float, ...] = ()
    native: str = ""
    unseen: float = 0.0

    @property
    def coding(self) -> Any:
        # A value alone would have no coordinate: it is given one of two levels, both of which are that value.
        if self.ordered or self.count == 1:
            return ("whole", max(len(self.values), 2))
        return ("category", self.count)

    @property
    def missing_code(self) -> float:
        """Return the code of a missing entry: NaN, or a category more."""
        return math.nan if self.ordered else len(self.values)

    @property
    def count(self) -> int:
        """Return the number of categories, a missing entry among them."""
        return len(self.values) + (self.missing and not self.ordered)

    def codes(self, series: Any) -> np.ndarray:
        """Return codes, NaN for missing entries and infinity for unknown categories."""
        places = {value: place for place, value in enumerate(self.values)}
        entries = zip(series.to_list(), absent_of(series), strict=True)
        codes = [math.nan if gone else places.get(entry, math.inf) for entry, gone in entries]
        return np.asarray(codes, "float64")

    @property
    def expected(self) -> str:
        """Return in words what an entry may be."""
        return f"one of the {len(self.values)} categories of the training data, {self.span}"

    def drawable(self, codes: np.ndarray) -> np.ndarray:
        """Return codes as numbers on an axis, NaN for missing entries."""
        return np.where(codes > len(self.values) - 1, math.nan, codes)

    def entries(self, codes: np.ndarray, library: str) -> Any:
        """Return the column's entries of codes, as a narwhals series without a name."""
        last = len(self.values) - 1
        absent = np.isnan(codes) | (codes > last if self.missing else False)
        places = np.where(absent, 0, np.minimum(np.nan_to_num(codes), last)).astype(int)
        found = [None if gone else self.values[place] for place, gone in zip(places, absent, strict=True)]
        if self.dtype == "Enum":
            return nw.new_series("", found, nw.String(), backend=library).cast(nw.Enum(self.values))
        series = _series(found, self, library)
        if self.native != "category":
            return series
        return nw.from_native(series.to_native().cat.set_categories(self.values), series_only=True)

    def proposals(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return codes of categories, each drawn as often as it was seen."""
        shares = np.asarray(self.shares[:-1])
        return rng.choice(len(shares), size=shape, p=shares / shares.sum()).astype("float64")

    def log_share(self, codes: np.ndarray) -> np.ndarray:
        """Return the logarithm of the probability of `proposals`, but for a constant."""
        return np.log(np.maximum(np.asarray(self.shares), 1e-12))[codes.astype(int)]

    def features(self, codes: np.ndarray) -> list[np.ndarray]:
        """Return what networks see of codes that are a context: 1 for the category and 0 for each other."""
        codes = np.where(np.isnan(codes), len(self.values), codes)
        return [(codes == place).astype("float64") for place in range(len(self.values) + self.missing)]

    @property
    def span(self) -> str:
        words = [str(value) for value in self.values]
        return ", ".join(words[:4]) + (", ..." if len(words) > 4 else "")

    @property
    def word(self) -> str:
        return "ordered" if self.ordered else "category" if len(self.values) > 1 else "constant"


ColumnType = Number | Category


def bounds_of(domain: Any) -> tuple[float, float]:
    """Return (low, high) of a domain of `Unconstrain`.

    >>> bounds_of("positive"), bounds_of(("circular", 0, 24))
    ((0.0, inf), (0.0, 24.0))
    """
    words = {"real": (-math.inf, math.inf), "positive": (0.0, math.inf), "circular": (-math.pi, math.pi)}
    if isinstance(domain, str):
        return words[domain]
    low, high = domain[-2:]
    return float(low), float(high)


def _is_circular(domain):
    return domain == "circular" or (not isinstance(domain, str) and domain[0] == "circular")


def absent_of(series: Any) -> np.ndarray:
    """Return which entries of a column are missing: null or NaN."""
    absent = series.is_null().to_numpy()
    if series.dtype.is_float():
        absent = absent | np.isnan(series.fill_null(math.nan).to_numpy())
    return np.asarray(absent, bool)


def _read(series, read):
    """Return numbers, `read` from entries, NaN for missing entries and infinity for those it raises for."""
    entries, found = series.to_list(), np.full(len(series), math.nan)
    for row in np.flatnonzero(~absent_of(series)).tolist():
        try:
            found[row] = read(entries[row])
        except (TypeError, ValueError, OverflowError):
            found[row] = math.inf
    return found


def numbers_of(series: Any, low: float = 0) -> np.ndarray:
    """Return the numbers of a column above `low`, float64, NaN for missing entries."""
    if series.dtype.is_integer() and abs(low) > 2**52:  # float64 would round the entries themselves
        entries = series.to_list()
        return np.asarray(
            [
                math.nan if gone else entry - int(low)
                for entry, gone in zip(entries, absent_of(series), strict=True)
            ],
            "float64",
        )
    return np.asarray(series.cast(nw.Float64()).fill_null(math.nan).to_numpy(), "float64") - low


def _number(entry):
    """Return the number that a word writes, as an int if it is whole."""
    try:
        return int(str(entry))
    except ValueError:
        return float(entry)


def moments_of(series):
    """Return the dates of a column as datetime64, in UTC if it has a time zone."""
    if getattr(series.dtype, "time_zone", None) is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return series.to_numpy()


def _moment(entry, aware):
    """Return the moment that a word writes, in UTC if it has a time zone; ValueError unless it has one if `aware`."""
    moment = datetime.fromisoformat(str(entry))
    if (moment.tzinfo is not None) != aware:
        raise ValueError
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None) if aware else moment, "us")


def _microseconds(unit):
    return np.timedelta64(1, unit) / np.timedelta64(1, "us")


def _dtype(name):
    """Return the narwhals type of a name, which may come from a file."""
    found = getattr(nw, name, None)
    if not (isinstance(found, type) and issubclass(found, nw.dtypes.DType)):
        raise ValueError(f"got the column type {name!r}, expected a type of narwhals such as 'Int64'.")
    return found()


def _series(entries, kind, library):
    """Return a list of entries, None if missing, as a series of a column type."""
    if library == "polars":
        return nw.new_series("", entries, _dtype(kind.dtype), backend=library)
    pandas = nw.Implementation.PANDAS.to_native_namespace()
    return nw.from_native(pandas.Series(entries, dtype=kind.native or None), series_only=True)


def _as_native(series, native):
    """Return a series of pandas as one of the type `native`; as it is for ""."""
    return nw.from_native(series.to_native().astype(native), series_only=True) if native else series


# Files


def stored_type(kind: ColumnType) -> dict[str, Any]:
    """Return a type as JSON can hold it."""
    return {"type": type(kind).__name__, **asdict(kind)}


def restored_type(stored: dict[str, Any]) -> ColumnType:
    """Return the type that `stored_type` returned."""
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return {"Number": Number, "Date": Date, "Category": Category}[fields.pop("type")](**fields)
