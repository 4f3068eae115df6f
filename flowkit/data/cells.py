"""Write new cells of a column of a file as its other cells are written."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import product
from typing import Any

from flowkit.data.written_numbers import NumberFormat, formats_of

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d-%m-%Y", "%d/%m/%Y", "%d.%m.%Y")
_TIMES = tuple(map("".join, product(" T", ("%H:%M:%S", "%H:%M"), ("", "Z"))))


@dataclass(frozen=True)
class CellFormat:
    """Write entries as a column of a file does.

    - `numbers`: marks and decimals.
    - `dates`: a pattern in the words of strftime, "" for 2024-01-31; `short` writes 1 for 01.
    - `truth`: "lower", "upper" or "title", the letters of true and false.

    >>> CellFormat.of([47.2767], ["47.276700"]).write(2.5)
    '2.500000'
    >>> CellFormat(dates="%d/%m/%Y").write(date(2024, 1, 31))
    '31/01/2024'
    """

    numbers: NumberFormat = field(default_factory=NumberFormat)
    dates: str = ""
    short: bool = False
    truth: str = "lower"

    @classmethod
    def of(
        cls, known: Iterable[Any], cells: Iterable[str | None], numbers: NumberFormat | None = None
    ) -> "CellFormat":
        """Return the format in which a column with the entries `known` writes them as `cells`, as far as they show it.

        `numbers`: the format of its numbers, if reading has found it.
        """
        pairs = [pair for pair in dict.fromkeys(zip(known, cells, strict=True)) if None not in pair]
        written = [cell for entry, cell in pairs if type(entry) in (int, float)]
        letters = next((cell for entry, cell in pairs if type(entry) is bool), "true")
        numbers = numbers or next(iter(formats_of(written)), NumberFormat())
        truth = "upper" if letters.isupper() else "title" if letters[:1].isupper() else "lower"
        return cls(numbers, *_written_dates(pairs), truth)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "CellFormat":
        """Return the format of which `dataclasses.asdict` has made `stored`."""
        return cls(**stored | {"numbers": NumberFormat(**stored["numbers"])})

    def write(self, entry: Any) -> str | None:
        """Return an entry as a word, None if it is missing."""
        if entry is None:
            return None
        if isinstance(entry, bool):
            return getattr(str(entry), self.truth)()
        if isinstance(entry, int | float):
            return self.numbers.write(entry)
        if isinstance(entry, date) and self.dates:
            return _moment(entry, self.dates, self.short)
        return str(entry)


def like_cells(
    entries: Iterable[Any], known: Iterable[Any], cells: Iterable[str | None], form: NumberFormat | None
) -> list[str | None]:
    """Return `entries` as words, None for missing ones, in the form of a column of a file.

    The column has the entries `known`, which it writes as `cells`, with the format `form` of written numbers or None.
    An entry that the column has is written as there, others in its `CellFormat`.

    >>> like_cells([2.5, 47.2767], [47.2767], ["47.276700"], None)
    ['2.500000', '47.276700']
    """
    known, cells = list(known), list(cells)
    there = {
        entry: cell
        for entry, cell in zip(known, cells, strict=True)
        if entry is not None and cell is not None
    }
    found = CellFormat.of(known, cells, form)
    return [None if entry is None else there.get(entry) or found.write(entry) for entry in entries]


def _written_dates(pairs):
    """Return (pattern, True if 1 is written for 01) by which all dates among (entry, cell) are written, ("", False)."""
    moments = [(entry, cell) for entry, cell in pairs if isinstance(entry, date)]
    timed = any(isinstance(entry, datetime) for entry, _ in moments)
    for short, pattern in product((False, True), patterns(timed) if moments else ()):
        if all(_moment(entry, pattern, short) == cell for entry, cell in moments):
            return pattern, short
    return "", False


def patterns(time: bool) -> list[str]:
    """Return the patterns of dates in files, in the words of strftime, with `time` those of dates with times."""
    return [day + hour for day in _DATES for hour in (_TIMES if time else ("",))]


def _moment(moment, pattern, short):
    """Return a date or time by a pattern; with `short`, 1 for 01."""
    text = moment.strftime(pattern)
    return re.sub(r"(^|\D)0(\d)", r"\1\2", text) if short else text
