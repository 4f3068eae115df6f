"""Frames of polars from files: .parquet, and text with or without a line of names, with commas, semicolons or tabs."""

import csv
import importlib
import io
import itertools
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowkit.data.bounded import FileError, open_file, reading
from flowkit.data.cells import CellFormat, patterns
from flowkit.data.frame import check_names
from flowkit.data.written_numbers import NumberFormat, formats_of

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None", "?")  # a missing entry, as programs write it
_PER_BYTE = 4  # bytes of memory for each byte of text: the shortest number takes 2 bytes, and 8 as a float64
_MOST_COLUMNS = 2**16


def read_parquet(path: Path) -> Any:
    """Return the frame in a parquet file, with columns of all types."""
    with open_file(path) as file, reading(path, "a .parquet file"):
        # An open file, because a path such as x[1].parquet is a pattern for polars.
        return importlib.import_module("polars").read_parquet(file)


@dataclass(frozen=True)
class TableFile:
    """A table in a file.

    Attributes:
        path: of the file.
        frame: its polars frame, whose columns have types; a column of numbers that people have written is one of
            numbers.
        named: True if the file names its columns.
        delimiter: between the entries of a line; None for .parquet.
        formats: {name: format} of the columns of written numbers.
    """

    path: Path
    frame: Any
    named: bool = True
    delimiter: str | None = None
    formats: dict[str, NumberFormat] = field(default_factory=dict)

    def cells(self) -> Any:
        """Return the frame of the cells as the file has them, as words, null if empty; the frame itself of .parquet."""
        return self.frame if self.delimiter is None else _read_text(self.path, {"infer_schema": False})[0]

    def cell_formats(self) -> dict[str, CellFormat]:
        """Return {name: how its cells are written} of the columns of text; {} for .parquet."""
        if self.delimiter is None:
            return {}
        cells = self.cells()
        return {
            series.name: CellFormat.of(series, cells[series.name], self.formats.get(series.name))
            for series in self.frame
        }

    def rows(self, places: Iterable[int], names: Iterable[str]) -> Any:
        """Return some rows of some columns as a frame, whose columns have the types of these rows alone."""
        frame = self.frame[list(places)][list(names)]
        return frame.with_columns(
            type(series)(series.name, series.to_list()) for series in frame if series.dtype.is_object()
        )


def read_table_file(path: Path, known: Mapping[str, str] | None = None) -> TableFile:
    """Return the table in a .parquet, .csv or .tsv file.

    Columns without names are column_0, column_1, ... A column of text is one of numbers if all of its entries are
    numbers in one format, such as $5.15 or 12,75. Entries such as 1,234 alone may be read in two ways: the mark before
    decimals is then that of the other columns, if these agree, otherwise a comma in a file with semicolons between
    columns, and a point in one with commas; with tabs they stay words. A warning names all such columns.

    `known`: {name: what the column holds}, "words", "numbers", "dates" or "truth". Words stay words, also if they are
    numbers. A column of others in which some entries are words holds objects: what it should hold, and these words.

    Raises FileError for text that is no table, for lines of other lengths than the first, and for too much of it.
    """
    if path.suffix.lower() == ".parquet":
        return TableFile(path, read_parquet(path))
    polars, known = importlib.import_module("polars"), known or {}
    words = [name for name, held in known.items() if held == "words"]
    how = {"infer_schema_length": None, "null_values": list(MISSING), "try_parse_dates": True}
    how |= {"schema_overrides": dict.fromkeys(words, polars.String)}
    frame, named, delimiter = _read_text(path, how)
    frame = frame.with_columns(_stripped(series, polars) for series in frame if series.name not in words)
    texts = [series for series in frame if series.dtype == polars.String and series.name not in words]
    new, formats = _written_numbers(path, frame, texts, known, delimiter)
    mixed = [series for series in texts if series.name in known and series.name not in formats]
    new += [_as_held(series, _reader(series, known[series.name], polars)) for series in mixed]
    return TableFile(path, frame.with_columns(new), named, delimiter, formats)


def _written_numbers(path, frame, texts, known, delimiter):
    """Return (the columns of text that are numbers as people write them, as numbers, {name: format})."""
    held = {series.name: known.get(series.name, "numbers") for series in texts}
    found = {
        series.name: _formats_in(series, some=series.name in known)
        for series in texts
        if held[series.name] == "numbers"
    }
    found = {name: formats for name, formats in found.items() if formats and not formats[0].plain}
    if not found:
        return [], {}
    cells = _read_text(path, {"infer_schema": False, "null_values": list(MISSING)})[0]
    pointed = {series.name: _formats_in(cells[series.name]) for series in frame if series.dtype.is_float()}
    formats, unclear = _settled(found, pointed, delimiter)
    _report(path, cells, formats, unclear)
    return [_as_held(cells[name], form.read) for name, form in formats.items()], formats


def _reader(series, held, polars):
    """Return a function that reads an entry of a column of text as what it should hold; None for other words."""
    if held == "truth":
        return lambda entry: {"true": True, "false": False}.get(entry.strip().lower())
    if held == "dates":
        entries = series.str.strip_chars()
        moments = (entries.str.to_datetime(pattern, strict=False) for pattern in patterns(time=True))
        days = (entries.str.to_date(pattern, strict=False) for pattern in patterns(time=False))
        best = min(itertools.chain(days, moments), key=lambda read: read.null_count())
        return dict(zip(series, best, strict=True)).get
    return lambda entry: (
        int(entry)
        if entry.strip().removeprefix("-").isdecimal()
        else float(entry)
        if is_number(entry)
        else None
    )


def _as_held(series, read):
    """Return a column of text as what `read` makes of its entries; as objects if it returns None for some of them."""
    polars = importlib.import_module("polars")
    entries = [None if entry is None else read(entry) for entry in series]
    odd = [entry if new is None else new for entry, new in zip(series, entries, strict=True)]
    if any(new is None and entry is not None for entry, new in zip(series, entries, strict=True)):
        return polars.Series(series.name, odd, polars.Object)
    whole = all(entry is None or (type(entry) is int and abs(entry) < 2**63) for entry in entries)
    return polars.Series(series.name, entries, polars.Int64 if whole else None, strict=False)


def _read_text(path, how):
    """Return (the frame that polars reads by the options `how`, True if the file names its columns, delimiter)."""
    polars = importlib.import_module("polars")
    with open_file(path, _PER_BYTE) as file:
        delimiter, count, names = _read_head(path, file)
        file.seek(0)
        kind = "a table as text in UTF-8, of entries as many in each line"
        with reading(path, kind):
            try:
                frame = polars.read_csv(file, separator=delimiter, has_header=names is not None, **how)
            except polars.exceptions.PolarsError:
                _empty_lines(path, file, delimiter, count, names is not None)  # which may know the line
                raise
        if count > 1 and frame[:, -1].null_count():  # polars fills short lines
            with reading(path, kind):
                empty = _empty_lines(path, file, delimiter, count, names is not None)
            frame = frame.with_row_index("").filter(~polars.col("").is_in(empty)).drop("") if empty else frame
    names_of_all = names or [f"column_{place}" for place in range(count)]
    return frame.rename(dict(zip(frame.columns, names_of_all, strict=True))), names is not None, delimiter


def _formats_in(series, some=False):
    """Return the formats in which all entries of a column of text are numbers, or `some`, all that are in any."""
    entries = series.drop_nulls().unique(maintain_order=True)
    return formats_of(entry for entry in entries if not some or formats_of([entry]))


def _settled(found, pointed, delimiter):
    """Return ({name: its format}, [names of columns that may be read in two ways]).

    `found` has the formats of columns of text, `pointed` those of columns of numbers with points.
    """
    marks = {formats[0].mark for formats in [*found.values(), *pointed.values()] if len(formats) == 1} - {""}
    mark = min(marks) if len(marks) == 1 else {",": ".", ";": ","}.get(delimiter)
    chosen = {
        name: next((form for form in formats if len(formats) == 1 or form.mark == mark), None)
        for name, formats in found.items()
    }
    if marks == {","}:  # then 1.234 is more than a thousand
        both = {name: formats for name, formats in pointed.items() if len(formats) > 1}
        chosen |= {
            name: next(form for form in formats if form.mark == mark) for name, formats in both.items()
        }
    unclear = [name for name, form in chosen.items() if form is None]
    return {name: form for name, form in chosen.items() if form is not None}, unclear


def _report(path, cells, formats, unclear):
    """Warn which columns are read as written numbers, and which are not because they may be read in two ways."""

    def example(name, form=None):
        entries = cells[name].drop_nulls()
        return next(entry for entry in entries if form is None or form.read(entry) is not None)

    read = [
        f"{name!r} ({(entry := example(name, form))!r} is {form.read(entry)!r})"
        for name, form in formats.items()
    ]
    said = [f"read as numbers: {', '.join(read)}"] if read else []
    if unclear:
        listed = ", ".join(f"{name!r} ({example(name)!r})" for name in unclear)
        said.append(f"left as words, since a mark may stand between thousands or before decimals: {listed}")
    warnings.warn(f"{path.name}: {'; '.join(said)}.", stacklevel=4)


def _stripped(series, polars):
    """Return a column of words as numbers if all are numbers between spaces, otherwise as it is."""
    if series.dtype == polars.String:
        for dtype in (polars.Int64, polars.Float64):
            numbers = series.str.strip_chars().cast(dtype, strict=False)
            if numbers.null_count() == series.null_count():
                return numbers
    return series


def _empty_lines(path, file, delimiter, count, named):
    """Return the rows that are empty lines; raise FileError for a line of another number of entries than `count`."""
    file.seek(0)
    empty = []
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        lines = csv.reader(text, delimiter=delimiter)
        for row, fields in enumerate(lines, -1 if named else 0):
            if not fields:
                empty.append(row)
            elif len(fields) != count:
                raise FileError(
                    f"{path}: got {len(fields)} entries in line {lines.line_num}, expected {count} as in the first "
                    "line. Write as many in each line, and no other lines. Name or leave out a column of row numbers: "
                    "R writes none with write.csv(row.names=FALSE)."
                )
    return empty


def _read_head(path, file):
    """Return (delimiter, number of columns, names in the first line or None for numbers).

    Raises FileError for names that name no columns or among which is a number.
    """
    with reading(path, "a table as text in UTF-8"):
        lines = (line.decode("utf-8-sig") for line in file)
        first = next(lines, "")
        # Numbers with decimal commas hold more commas than semicolons.
        parted = (mark for mark in ";\t" if mark in first and all(map(_is_written, first.split(mark))))
        delimiter = next(parted, None) or max(",;\t", key=first.count)
        # Records and no lines: a field may hold line breaks.
        rows = csv.reader(itertools.chain([first], lines), delimiter=delimiter)
        fields, below = [entry.strip() for entry in next(rows, [])], next(rows, None)
    if len(fields) > _MOST_COLUMNS:
        raise FileError(
            f"{path}: got {len(fields):,} columns, expected at most {_MOST_COLUMNS:,}. Leave some out, or check "
            "that rows end with line breaks."
        )
    if not any(fields):
        raise FileError(f"{path}: got a file that is empty or begins with an empty line, expected a table.")
    if all(entry in MISSING or is_number(entry) or _is_written(entry) for entry in fields):
        # Programs write all numbers of a column alike, 2 as 2.0 if any has a fraction.
        if all(map(str.isdecimal, fields)) and any(below or []) and not any(map(str.isdecimal, below)):
            raise FileError(
                f"{path}: got whole numbers in the first line above {delimiter.join(below)[:40]!r}, expected names or "
                "a row. Write a letter in each name, or a point in each number of a row."
            )
        return delimiter, len(fields), None
    if "" in fields or any(map(is_number, fields)):
        raise FileError(
            f"{path}: got {first.strip()[:40]!r} in the first line, expected a name for each column, no number. Name "
            "all columns, or leave out the index that pandas writes without to_csv(index=False)."
        )
    try:
        names = check_names(tuple(fields))
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None
    if below is None:
        raise FileError(f"{path}: got no rows, expected rows of numbers below the names of columns.")
    return delimiter, len(fields), names


def _is_written(text):
    """Return True for a number with marks such as 12,75, and no sign of money or %, which names may have."""
    return any(not (form.before or form.after) for form in formats_of([text]))


def is_number(text: str) -> bool:
    """Return True for the text of a number, also of nan and inf."""
    try:
        float(text)
    except ValueError:
        return False
    return True
