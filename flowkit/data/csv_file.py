"""Tables as text: .csv and .tsv, with or without a line of names, with commas, semicolons or tabs."""

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from flowkit.contract.columns import column_name
from flowkit.data.bounded import MAX_BYTES, FileError, check_bytes, regular_size
from flowkit.data.frame import check_names

_PER_BYTE = 4  # bytes of memory for each byte of text: the shortest number takes 2 bytes, and 8 as a float64
_LONGEST_LINE = 2**24  # characters
_ADVICE = (
    "Write numbers with a decimal point, drop or fill in rows with missing entries, or leave the column out, as "
    "pandas' frame.drop(columns=[...]) does. With polars installed, `flowkit train table` reads such columns."
)


def read_csv(path: Path, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the numbers, float64 (rows, columns), and the names of the columns or None.

    Raises FileError for text that is no table, for an entry that is missing or no number, with its line and column, and
    for more than `max_bytes`.
    """
    check_bytes(regular_size(path) * _PER_BYTE, max_bytes, str(path))
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return _read(path, file)
    except UnicodeDecodeError:
        raise FileError(
            f"{path}: expected a table as text in UTF-8, received other bytes. Save it as UTF-8, as pandas.read_csv("
            "..., encoding='latin-1') and to_csv do."
        ) from None
    except csv.Error as error:
        raise FileError(f"{path}: expected a table of numbers, received text with a {error}.") from None


def _read(path, file):
    lines = _bounded_lines(path, file)
    first, second = next(lines, ""), next(lines, "")
    delimiter = max(",;\t", key=first.count)
    names = names_of(path, first, second, delimiter)
    if names and not second:
        raise FileError(f"{path}: expected rows of numbers below the names of columns, received none.")
    rows = itertools.chain([second] if names else [first, second], lines)
    try:
        values = np.loadtxt(rows, comments=None, delimiter=delimiter, ndmin=2, quotechar='"')
    except (FileError, UnicodeDecodeError):
        raise
    except ValueError:
        raise _fault(path, delimiter, names) from None
    if names and len(names) != values.shape[1]:
        raise FileError(
            f"{path}: expected a name for each of the {values.shape[1]} columns, received {len(names)} names in the "
            "first line. Name or leave out a column of row numbers: R writes none with write.csv(row.names=FALSE)."
        )
    return values, names


def _bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    """Yield the lines of `file`; FileError for one of more than `_LONGEST_LINE` characters."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise FileError(
                f"{path}: expected lines of less than {_LONGEST_LINE:,} characters, received a longer one."
            )
        yield line


def names_of(path: Path, first: str, second: str, delimiter: str) -> tuple[str, ...] | None:
    """Return the names in the first line, or None if an entry is a number; FileError if they name no columns."""
    fields, below = (fields_of(line, delimiter) for line in (first, second))
    if not any(fields):
        raise FileError(
            f"{path}: expected a table, received a file that is empty or begins with an empty line."
        )
    if _are_years(fields, below):
        raise FileError(
            f"{path}: expected a first line of names or of numbers, received {delimiter.join(fields)[:40]!r} above "
            f"{delimiter.join(below)[:40]!r}, which reads like names that are whole numbers. If they are names, write "
            "a letter in each; if they are a row, a point."
        )
    if any(is_number(field) for field in fields):
        return None
    if "" in fields:
        raise FileError(
            f"{path}: expected a name for each column, received none for column {fields.index('')}. Name it, or leave "
            "it out: such is the index that pandas writes without to_csv(index=False)."
        )
    try:
        return check_names(tuple(fields))
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None


def fields_of(line: str, delimiter: str) -> list[str]:
    """Return the entries of a line of text."""
    return [field.strip() for field in next(csv.reader([line], delimiter=delimiter), [])]


def _are_years(fields, below):
    """Return True if all fields are whole numbers, such as years, above numbers with fractions.

    Programs that write tables write all numbers of a column alike, 2 as 2.0 if any has a fraction.
    """
    return (
        all(re.fullmatch(r"[+-]?\d+", field) for field in fields)
        and len(below) == len(fields)
        and all(re.search("[.eE]", field) and is_number(field) for field in below)
    )


def is_number(text: str) -> bool:
    """Return True for the text of a number, also of nan and inf."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fault(path, delimiter, names):
    """Return the FileError for the first line of another length, or the first entry that is no number."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        width = None
        for row in filter(None, reader):
            where = f"in line {reader.line_num}"
            width = len(row) if width is None else width
            if len(row) != width:
                return FileError(
                    f"{path}: expected as many entries in each line as in the first, {width}, received {len(row)} "
                    f"{where}. Repair it, or remove text around the table, such as titles and lines of comment."
                )
            wrong = [place for place, text in enumerate(row) if not is_number(text)]
            if wrong and not (names and reader.line_num == 1):
                column, text = column_name(wrong[0], names), row[wrong[0]]
                received = f"{text[:40]!r}" if text.strip() else "a missing entry"
                more = " If the line names the columns, no name may be a number." * (reader.line_num == 1)
                return FileError(
                    f"{path}: expected numbers in {column}, received {received} {where}. {_ADVICE}{more}"
                )
    return FileError(f"{path}: expected a table of numbers, received text that cannot be read as one.")
