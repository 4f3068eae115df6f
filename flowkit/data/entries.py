"""The entries of a column, a narwhals series: numbers, moments and words, in and out."""

import math
from datetime import UTC, datetime
from typing import Any

import narwhals as nw
import numpy as np


def absent_of(series: Any) -> np.ndarray:
    """Return which entries of a column are missing: null or NaN."""
    absent = series.is_null().to_numpy()
    if series.dtype.is_float():
        absent = absent | np.isnan(series.fill_null(math.nan).to_numpy())
    return np.asarray(absent, bool)


def read_entries(series, read):
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


def number_in(entry):
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


def moment_in(entry, aware):
    """Return the moment that a word writes, in UTC if it has a time zone; ValueError unless it has one if `aware`."""
    moment = datetime.fromisoformat(str(entry))
    if (moment.tzinfo is not None) != aware:
        raise ValueError
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None) if aware else moment, "us")


def microseconds(unit):
    return np.timedelta64(1, unit) / np.timedelta64(1, "us")


def type_named(name):
    """Return the narwhals type of a name, which may come from a file."""
    found = getattr(nw, name, None)
    if not (isinstance(found, type) and issubclass(found, nw.dtypes.DType)):
        raise ValueError(f"got the column type {name!r}, expected a type of narwhals such as 'Int64'.")
    return found()


def series_of(entries, kind, library):
    """Return a list of entries, None if missing, as a series of a column type."""
    if library == "polars":
        return nw.new_series("", entries, type_named(kind.dtype), backend=library)
    pandas = nw.Implementation.PANDAS.to_native_namespace()
    return nw.from_native(pandas.Series(entries, dtype=kind.native or None), series_only=True)


def as_native(series, native):
    """Return a series of pandas as one of the type `native`; as it is for ""."""
    return nw.from_native(series.to_native().astype(native), series_only=True) if native else series
