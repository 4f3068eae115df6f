"""Write new cells of a column of a file as its other cells are written."""

import functools
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from itertools import product
from typing import Any

from flowkit.data.written_numbers import NumberFormat, formats_of

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d-%m-%Y", "%d/%m/%Y", "%d.%m.%Y")
_TIMES = tuple(map("".join, product(" T", ("%H:%M:%S", "%H:%M"), ("", "Z"))))


def like_cells(
    entries: Iterable[Any], known: Iterable[Any], cells: Iterable[str | None], form: NumberFormat | None
) -> list[str | None]:
    """Return `entries` as words, None for missing ones, in the form of a column of a file.

    The column has the entries `known`, which it writes as `cells`, with the format `form` of written numbers or None.
    An entry that the column has is written as there; a number has the marks and the decimals of all others, a date
    their order, and True the letters of False.

    >>> like_cells([2.5, date(2024, 1, 2)], [47.2767], ["47.276700"], None)
    ['2.500000', '2024-01-02']
    """
    pairs = {
        entry: cell
        for entry, cell in zip(known, cells, strict=True)
        if entry is not None and cell is not None
    }
    write: dict[type, Callable[[Any], str]] = {}
    found = []
    for entry in entries:
        kind = type(entry)
        if kind not in write:
            alike = {old: cell for old, cell in pairs.items() if _family(type(old)) is _family(kind)}
            write[kind] = _writer(kind, alike, form)
        found.append(None if entry is None else pairs.get(entry) or write[kind](entry))
    return found


def _family(kind):
    """Return the class of entries that are written alike: words, truth values, dates or numbers."""
    return next(family for family in (str, bool, date, object) if issubclass(kind, family))


def _writer(kind, pairs, form):
    """Return a function that writes entries of a type as the pairs of (entry, cell) are written."""
    cells = list(pairs.values())
    if kind is bool:
        first = next(iter(cells), "true")
        case = str.upper if first.isupper() else str.title if first[:1].isupper() else str.lower
        return lambda entry: case(str(entry))
    if kind in (int, float):
        form = form or next(iter(formats_of(cells)), NumberFormat())
        return form.write
    if issubclass(kind, date):
        ways = [
            functools.partial(_moment, pattern=pattern, short=short)
            for short in (False, True)
            for pattern in patterns(time=kind is datetime)
        ]
        right = (way for way in ways if all(way(entry) == cell for entry, cell in pairs.items()))
        return next(right, str)
    return str


def patterns(time: bool) -> list[str]:
    """Return the patterns of dates in files, in the words of strftime, with `time` those of dates with times."""
    return [day + hour for day in _DATES for hour in (_TIMES if time else ("",))]


def _moment(moment, pattern, short):
    """Return a date or time by a pattern; with `short`, 1 for 01."""
    text = moment.strftime(pattern)
    return re.sub(r"(^|\D)0(\d)", r"\1\2", text) if short else text
