"""Infer the types of the columns of a mixed table from their entries."""

import datetime
import decimal
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np

from flowkit.contract.arguments import shown
from flowkit.data.category import Category
from flowkit.data.column_types import UNITS, ColumnType, Date, Number
from flowkit.data.entries import absent_of, moments_of, number_in, numbers_of
from flowkit.data.frame_file import is_number

MOST_LEVELS = 2**20  # of a column of whole numbers; one with more is real
MOST_CATEGORIES = 256  # of a column of text, unless its type is given
_ENUMERATED = 256  # levels, at most, of a column whose values are listed
_BEYOND = 4  # times the range of measured numbers, on both sides, in which other rows may lie
_SPARSE = 4  # levels for each that occurs, at least, of a column whose values are listed
_DECIMALS = 6  # at most, of a column that is recorded in steps of 0.1, 0.01, ...
_ATOMS = 3  # of a column, at most
_OFTEN = 8  # times as often as its neighbours occurs an atom, at least
_LEAST = 11  # rows, above which a number may be an atom
_FEW = 16  # numbers beside atoms, below which their levels hold all shares
_FAR = (
    1000  # standard deviations from 0, beyond which the logarithm, or float32, would lose digits of a column
)


class Identifier(ValueError):
    """Error for a column that names or numbers the rows; `kind` is its type as numbers, None for words."""

    def __init__(self, message: str, kind: ColumnType | None = None) -> None:
        super().__init__(message)
        self.kind = kind


def infer_type(series: Any, asked: Any = None) -> ColumnType:
    """Return the type of a column, a narwhals series: inferred, or `asked` for.

    `asked` is "real", "positive", (low, high), "circular", ("circular", low, high), "whole", ("whole", low, high),
    "category" or "date". "positive|0" and "real|-999|0" have atoms, single numbers with a probability of their own; so
    have (low, high, "|0") and ("whole", low, high, "|0"), and "|0", whose other numbers have the type that is inferred.
    A number that occurs far more often than others allow is inferred to be an atom: see `_atoms`. A type without "|"
    has none. Raises ValueError, with what is the matter, for a column that has no type, and `Identifier` for one that
    has none but for names or numbers of the rows, unless a type is `asked` for.
    """
    native = series.to_native()
    own = nw.dependencies.is_pandas_series(native) and not series.dtype.is_decimal()
    kind = replace(_inferred(series, asked), native=str(native.dtype) if own else "")
    if isinstance(kind, Number) and kind.distinct and _numbers_rows(kind.codes(series)):
        raise Identifier("whole numbers, all different", kind)
    return kind


def _numbers_rows(codes):
    """Return True if different whole numbers only number the rows: others would repeat or be spread less evenly.

    By chance none of n numbers in a range of w occurs twice with a probability of exp(-n^2 / 2w) at most, here 0.001.
    Evenly means a Kolmogorov-Smirnov distance from the uniform distribution below 1.36 / sqrt(n).
    """
    codes = np.sort(codes[~np.isnan(codes)])
    count, width = len(codes), np.ptp(codes) + 1
    distance = np.abs((codes - codes[0]) / width - np.arange(count) / count).max()
    return count**2 > 14 * width or distance < 1.36 / math.sqrt(count)


def _inferred(series, asked):
    absent = absent_of(series)
    if absent.all():
        raise ValueError("all entries are missing")
    dtype, some = series.dtype, bool(absent.any())
    if asked == "category" or dtype in (nw.Boolean, nw.String, nw.Categorical, nw.Enum, nw.Object):
        if asked == "date":
            raise ValueError("text, expected dates: parse them first, as pandas.to_datetime does")
        if asked not in (None, "category"):
            raise ValueError(f"{dtype}, not numbers")
        return _category(series, absent, asked is not None)
    if dtype in (nw.Datetime, nw.Date):
        if asked not in (None, "date"):
            raise ValueError(f"{dtype}, type {shown(asked)}, expected 'date'")
        return _date(series, some)
    if not dtype.is_numeric() or asked == "date":
        raise ValueError(f"{dtype}, no number, date or category")
    values = numbers_of(series)[~absent]
    if not np.isfinite(values).all():
        raise ValueError("infinite entries")
    word, whole = str(dtype) if not dtype.is_decimal() else "Float64", dtype.is_integer()
    base, atoms = _parted(asked)
    atoms = _atoms(values) if asked is None else atoms
    if gone := [atom for atom in atoms if atom not in values]:
        raise ValueError(f"no entry {gone[0]:g}, type {shown(asked)}, expected numbers after '|' that occur")
    numbers = ~np.isin(values, atoms)
    if not numbers.any():
        raise ValueError(f"no numbers besides those after '|' in type {shown(asked)}, expected some")
    origin = _origin(values[numbers])
    origin = int(origin) if whole else origin
    values = numbers_of(series, origin)[~absent]
    if asked is None and len(np.unique(values)) == 1:
        value = values[0].item()
        value = origin + (int(value) if whole else value)
        return Category((value,), False, word, some, (1 - absent.mean(), absent.mean()))
    kind = _number(values[numbers], origin, base, word, some, _ends(values[numbers] + origin, atoms))
    kind = replace(kind, atoms=tuple(int(atom) if whole else atom for atom in atoms))
    return _finished(kind, series, asked)


def _parted(asked):
    """Return (a type without its atoms, its atoms) of a type that a user asks for."""
    words = (
        asked if isinstance(asked, str) else asked[-1] if isinstance(asked, list | tuple) and asked else ""
    )
    if not isinstance(words, str) or "|" not in words:
        return asked, []
    word, *atoms = words.split("|")
    try:
        found = sorted({float(number_in(atom)) for atom in atoms})
    except ValueError:
        found = [math.nan]
    if not np.isfinite(found).all() or (word and words is not asked):
        raise ValueError(f"type {shown(asked)}, expected numbers after '|', such as 'positive|0'")
    return (word or None if words is asked else tuple(asked[:-1])), found


def _atoms(values):
    """Return the numbers that have a probability of their own: no rain, a sensor's -999, ages clipped at 18.

    An atom holds at least 12 rows and more than 0.5 % of them, and occurs more than 8 times as often as the second most
    frequent of the three nearest numbers on each side. If more than three do, as of incomes that people round, only
    those count that occur twice as often as the next. The others are at least 16 numbers of which new rows are likely
    to have more, or more than 256. Rounded draws of a density as smooth as the normal or the exponential one have no
    atoms.
    """
    numbers, counts = np.unique(values, return_counts=True)
    if len(numbers) <= _FEW or np.abs(numbers).max() > 2**53:  # float64 has rounded these
        return []
    around = np.lib.stride_tricks.sliding_window_view(np.pad(counts, 3), 7)
    second = np.sort(np.delete(around, 3, axis=1), axis=1)[:, -2]
    often = np.flatnonzero(counts > np.maximum(_OFTEN * second, max(_LEAST, len(values) / 200)))
    often = often[np.argsort(-counts[often], kind="stable")]
    if len(often) > _ATOMS:
        apart = np.flatnonzero(counts[often[:_ATOMS]] >= 2 * counts[often[1 : _ATOMS + 1]])
        often = often[: max(apart + 1, default=0)]
    others = np.delete(counts, often)
    likely = len(others) > _ENUMERATED or np.count_nonzero(others == 1) > others.sum() / 1000
    return sorted(numbers[often].tolist()) if len(others) >= _FEW and likely else []


def _ends(numbers, atoms):
    """Return (the largest atom below all numbers, the smallest above all), infinite unless numbers come close to it.

    So the numbers of a clipped column end there, and a sentinel far away is no end: 90 % of the numbers are farther
    from the nearest number than the atom.
    """
    low, high = -math.inf, math.inf
    for atom in atoms:
        least, first, last, most = np.quantile(numbers, [0, 0.1, 0.9, 1])
        if least - atom <= max(first - least, 0) and atom < least:
            low = max(low, atom)
        if atom - most <= max(most - last, 0) and atom > most:
            high = min(high, atom)
    return low, high


def _origin(values):
    """Return one of the numbers near their median if they are far from 0, as measured by their spread, otherwise 0."""
    middle = float(np.quantile(values, 0.5, method="higher"))
    with np.errstate(over="ignore"):
        return middle if abs(middle) > _FAR * np.std(values) else 0.0


def _number(values, origin, asked, dtype, missing, ends):
    """Return the type of numbers of which `values` are the differences from `origin`; they lie between `ends`."""
    word, low, high = _wanted(asked)
    low, high = low - origin, high - origin
    # Numbers are recorded in steps if these repeat.
    decimals = _digits(values + origin)
    repeated = decimals == 0 or len(np.unique(values)) <= 0.9 * len(values)
    in_steps = decimals is not None and repeated and asked not in ("real", "positive")
    if word == "whole":
        in_steps = decimals == 0
    if in_steps:
        step = 10.0**-decimals
        low = values.min() if math.isinf(low) else low
        high = values.max() if math.isinf(high) else high
        levels = math.floor((high - low) / step + 1e-3) + (word != "circular")
        on_steps = _is_whole((values[0] - low) / step)
        if word == "circular":
            on_steps = on_steps and _is_whole((high - low) / step)
        if on_steps and 1 < levels <= MOST_LEVELS:
            circular, below = "circular" if word == "circular" else "real", 0
            measured = asked in (None, "whole") and bool(_others_likely(values))
            if measured:
                below, levels = _widened(round((low + origin) / step), levels)
                if asked is None:
                    below, levels = _between(ends, origin + low, step, below, levels)
            low = origin + type(origin)(low - below * step)
            return Number(circular, low, levels, decimals, dtype, missing, measured=measured)
    if word == "whole":
        if not in_steps or not on_steps:
            raise ValueError("fractions, no whole numbers")
        raise ValueError(f"a range of {levels:,} whole numbers, expected 2 to {MOST_LEVELS:,}")
    if asked == "positive" and origin:
        raise ValueError(
            f"numbers whose spread is below 1/{_FAR:,} of their size, type 'positive', expected 'real', which keeps "
            "their digits"
        )
    if asked is None:
        low, high = max(ends[0], 0 if values.min() > 0 and not origin else -math.inf), ends[1]
        names = {(0, math.inf): "positive", (-math.inf, math.inf): "real"}
        asked = names.get((low, high), (low, high))
    domain = tuple(asked) if isinstance(asked, list) else asked
    return Number(domain, origin, dtype=dtype, missing=missing, rounded=decimals or None)


def _widened(first, levels):
    """Return (steps below `first`, levels) with _BEYOND times the range more on both sides, for other rows.

    `first` is the number of the first step from 0. Numbers of one sign keep it: 0 is added to neither positive nor
    negative ones.
    """
    more = min(_BEYOND * levels, (MOST_LEVELS - levels) // 2)
    last = first + levels - 1
    start = first - more if first < 0 else max(first - more, min(first, 1))
    stop = last + more if last > 0 else min(last + more, max(last, -1))
    return first - start, stop - start + 1


def _between(ends, low, step, below, levels):
    """Return (steps below `low`, levels) that stay between the ends, which are no levels."""
    first, last = (min(max((end - low) / step, -MOST_LEVELS), MOST_LEVELS) for end in ends)
    start, stop = max(-below, math.floor(first + 1e-3) + 1), min(levels - below, math.ceil(last - 1e-3))
    return -start, stop - start


def _wanted(asked):
    """Return (word, low, high) of a type that a user asks for; ends are infinite if data tell them."""
    if asked in (None, "real", "positive", "whole"):
        return asked or "real", -math.inf, math.inf
    if asked == "circular":
        return asked, -math.pi, math.pi
    try:
        word, *ends = asked if isinstance(asked[0], str) else ("real", *asked)
        low, high = map(float, ends)
    except (TypeError, ValueError, IndexError):
        word, low, high = "", 1.0, 0.0
    if word not in ("real", "circular", "whole") or not low < high:
        raise ValueError(
            f"type {shown(asked)}, expected 'real', 'positive', (low, high), 'circular', ('circular', low, high), "
            "'whole', ('whole', low, high), 'category' or 'date'"
        )
    return word, low, high


def _is_whole(number):
    return abs(number - round(number)) < 1e-3


def _digits(values):
    """Return the fewest decimals that write all numbers; None for more than _DECIMALS, or than float64 tells apart."""
    for decimals in range(_DECIMALS + 1):
        scaled = values * 10.0**decimals
        steps = np.round(scaled)
        rounding = 4 * np.finfo("float64").eps * np.abs(scaled)
        if decimals and rounding.max() > 1e-4:
            return None
        close = np.abs(scaled - steps) < np.maximum(1e-6, rounding)
        if close.all() and (steps.any() or not values.any()):  # tiny numbers are near 0 in all steps
            return decimals
    return None


def _date(series, missing):
    found = moments_of(series)
    moments = found.astype("datetime64[us]")
    if len(np.unique(moments)) < len(np.unique(found)):
        raise ValueError(
            "times that differ by less than a microsecond, expected whole microseconds. Round them, as pandas' "
            "dt.round('us') does"
        )
    moments = moments[~np.isnat(moments)]
    first, last = moments.min(), moments.max()
    zone = getattr(series.dtype, "time_zone", None)
    name = "Date" if series.dtype == nw.Date else series.dtype.time_unit
    for unit in UNITS:
        size = np.timedelta64(1, unit)
        levels = int((last - first) // size) + 1
        origin = first.astype(f"datetime64[{unit}]").astype("datetime64[us]")
        if levels <= MOST_LEVELS and (moments == moments.astype(f"datetime64[{unit}]")).all():
            measured = bool(_others_likely(moments))
            beyond = max(1, levels // 10) if measured else 0  # little: not all dates fit into a column
            origin, levels = origin - beyond * size, max(levels, 2) + 2 * beyond
            steps = {
                "levels": levels,
                "decimals": 0,
                "unit": unit,
                "origin": str(origin),
                "measured": measured,
            }
            break
    else:
        steps = {"origin": str(first)}
    return _finished(Date("real", dtype=name, missing=missing, zone=zone, **steps), series, None)


def _finished(kind, series, asked):
    """Return the type with quantiles of its codes, a whole number k spread over [k, k + 1).

    Unless a type was `asked` for, also with the list of steps that occur, if these are few and others are unlikely in
    new rows.
    """
    codes = kind.codes(series)
    codes = codes[~np.isnan(codes)]
    if np.isinf(codes).any():
        raise ValueError(f"numbers outside of the type {shown(asked)}, expected {kind.expected}")
    everything, codes = codes, kind.numbers_among(codes)
    shares = [float(np.mean(everything == code)) for code in kind.atom_codes]
    steps, places = np.unique(codes, return_inverse=True)
    few = 2 <= len(steps) <= min(_ENUMERATED, kind.levels / _SPARSE)
    if asked is None and few and not kind.atoms and not _others_likely(codes):
        kind, codes = replace(kind, listed=tuple(map(int, steps))), places
    if asked is None and type(kind) is Number and len(steps) == len(codes) > _ENUMERATED:
        kind = replace(kind, distinct=kind.decimals == 0 or (kind.decimals is None and _digits(codes) == 0))
    if kind.decimals is not None:
        codes = codes + np.random.default_rng(0).random(len(codes))
    quantiles = np.quantile(codes, np.linspace(0, 1, 65))
    return replace(kind, quantiles=tuple(quantiles.tolist()), shares=tuple(shares))


def _others_likely(numbers):
    """Return True if a new row has a number that is not among these with a probability above 0.001.

    The probability is about the share of numbers that occur once (Good, 1953).
    """
    _, counts = np.unique(numbers, return_counts=True)
    return np.count_nonzero(counts == 1) > len(numbers) / 1000


def _no_words(entry):
    """Return what is wrong with an entry of a kind that no type has, and how to convert it."""
    if isinstance(entry, datetime.date):
        cure = "pandas.to_datetime(column) makes dates of them"
    elif isinstance(entry, decimal.Decimal):
        cure = "column.astype(float) makes numbers of them"
    else:
        cure = "column.astype(str) makes words of them"
    return f"entries such as {shown(entry)}, no words or numbers; {cure}"


def _category(series, absent, asked):
    entries = [value for value, away in zip(series.to_list(), absent, strict=True) if not away]
    if nested := [value for value in entries if isinstance(value, list | dict | set | np.ndarray)]:
        raise ValueError(_no_words(nested[0]))
    ordered = series.dtype == nw.Enum
    if ordered:
        values = list(series.dtype.categories)
    else:
        values = sorted(set(entries), key=lambda value: (type(value).__name__, value))
    odd = [value for value in values if not isinstance(value, str | int | float)]
    if odd:
        raise ValueError(_no_words(odd[0]))
    many = len(values) > MOST_CATEGORIES or (len(values) > 20 and len(values) > len(entries) / 4)
    if many and not asked:
        words = [value for value in values if isinstance(value, str) and not is_number(value)]
        if 0 < len(words) < len(values) / 2:
            row = series.to_list().index(words[0])
            raise ValueError(f"numbers, except {shown(words[0])} in row {row}, counted from 0")
        if len(values) == len(entries) == len(words) and all(any(map(str.isalpha, word)) for word in words):
            raise Identifier("words, all different")
        raise ValueError(
            f"text, {len(values):,} different entries in {len(entries):,} rows (parse dates first, as "
            "pandas.to_datetime does)"
        )
    times = Counter(entries)
    counts = np.array([times[value] for value in values] + [absent.sum()]) / len(series)
    word = str(series.dtype).partition("(")[0]
    closed = ordered or word == "Boolean"
    once = sum(count == 1 for count in times.values())
    unseen = 0.0 if closed else max(once, 0.5) / (len(entries) + 1)  # Good (1953)
    return Category(tuple(values), ordered, word, bool(absent.any()), tuple(counts.tolist()), unseen=unseen)
