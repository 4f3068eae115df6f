"""Frames of polars from files: .parquet, and text with or without a line of names, with commas, semicolons or tabs."""

import csv
import importlib
import io
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flowkit.data.bounded import FileError, open_file, reading
from flowkit.data.frame import check_names

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None", "?")  # a missing entry, as programs write it
_PER_BYTE = 4  # bytes of memory for each byte of text: the shortest number takes 2 bytes, and 8 as a float64
_MOST_COLUMNS = 2**16


def read_parquet(path: Path) -> Any:
    """Return the frame in a parquet file, with columns of all types."""
    with open_file(path) as file, reading(path, "a .parquet file"):
        # An open file, because a path such as x[1].parquet is a pattern for polars.
        return importlib.import_module("polars").read_parquet(file)


def read_named(path: Path, words: Iterable[str] = ()) -> tuple[Any, bool]:
    """Return the frame in a .parquet, .csv or .tsv file, and True if the file names its columns; see `read_csv`."""
    return (read_parquet(path), True) if path.suffix.lower() == ".parquet" else read_csv(path, words)


def read_csv(path: Path, words: Iterable[str] = ()) -> tuple[Any, bool]:
    """Return the polars frame of a table as text, dates among its types, and True if the first line names the columns.

    Columns without names are column_0, column_1, ... Those of `words` stay words, also if they are numbers. Raises
    FileError for text that is no table, for lines of other lengths than the first, and for too much of it.
    """
    polars = importlib.import_module("polars")
    with open_file(path, _PER_BYTE) as file:
        delimiter, count, names = _read_head(path, file)
        file.seek(0)
        how = {"separator": delimiter, "has_header": names is not None, "null_values": list(MISSING)}
        how |= {"schema_overrides": dict.fromkeys(words, polars.String), "try_parse_dates": True}
        kind = "a table as text in UTF-8, of entries as many in each line"
        with reading(path, kind):
            try:
                frame = polars.read_csv(file, infer_schema_length=None, **how)
            except polars.exceptions.PolarsError:
                _empty_lines(path, file, delimiter, count, names is not None)  # which may know the line
                raise
        if count > 1 and frame[:, -1].null_count():  # polars fills short lines
            with reading(path, kind):
                empty = _empty_lines(path, file, delimiter, count, names is not None)
            frame = frame.with_row_index("").filter(~polars.col("").is_in(empty)).drop("") if empty else frame
    names_of_all = names or [f"column_{place}" for place in range(count)]
    frame = frame.rename(dict(zip(frame.columns, names_of_all, strict=True)))
    return frame.with_columns(
        _stripped(series, polars) for series in frame if series.name not in words
    ), names is not None


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
        delimiter = max(",;\t", key=first.count)
        # Records and no lines: a field may hold line breaks.
        rows = csv.reader(itertools.chain([first], lines), delimiter=delimiter)
        fields, below = [field.strip() for field in next(rows, [])], next(rows, None)
    if len(fields) > _MOST_COLUMNS:
        raise FileError(
            f"{path}: got {len(fields):,} columns, expected at most {_MOST_COLUMNS:,}. Leave some out, or check "
            "that rows end with line breaks."
        )
    if not any(fields):
        raise FileError(f"{path}: got a file that is empty or begins with an empty line, expected a table.")
    if all(field in MISSING or is_number(field) for field in fields):
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


def is_number(text: str) -> bool:
    """Return True for the text of a number, also of nan and inf."""
    try:
        float(text)
    except ValueError:
        return False
    return True
