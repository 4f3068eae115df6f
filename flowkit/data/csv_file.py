"""Tables as text: .csv, with or without a line of names, with commas, semicolons or tabs."""

import csv
import re
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_bytes

_PER_BYTE = 4  # of memory for each of text: the shortest number takes 2 bytes, and 8 as a float64


def read_csv(path: Path, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """(the numbers, float64 (rows, columns), the names of the columns or None).

    Raises FileError for text that is no table, an entry that is missing or no number, with its line and column, and
    more than `max_bytes`.
    """
    check_bytes(path.stat().st_size * _PER_BYTE, max_bytes, str(path))
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first, next_line = file.readline(), file.readline()
    except UnicodeDecodeError:
        raise FileError(f"{path}: expected a table as text in UTF-8, received other bytes.") from None
    delimiter = max(",;\t", key=first.count)
    fields, second = (
        [field.strip() for field in next(csv.reader([line], delimiter=delimiter), [])]
        for line in (first, next_line)
    )
    if not any(fields):
        raise FileError(f"{path}: expected a table, received a file whose first line is empty.")
    names = None if any(_is_number(field) for field in fields) else tuple(fields)
    if names is None and _are_names(fields, second):
        above, below = (delimiter.join(line)[:40] for line in (fields, second))
        raise FileError(
            f"{path}: expected a first line of names or of numbers, received {above!r} above {below!r}, which reads "
            "like names that are whole numbers. If they are names, write a letter in each; if they are a row, a point."
        )
    try:
        values = np.loadtxt(
            path,
            "float64",
            comments=None,
            delimiter=delimiter,
            skiprows=0 if names is None else 1,
            ndmin=2,
            encoding="utf-8-sig",
            quotechar='"',
        )
    except ValueError:
        raise _fault(path, delimiter, names, len(fields)) from None
    if not values.size:
        raise FileError(f"{path}: expected rows of numbers, received none.")
    return values, names


def _are_names(fields, second):
    """Whether the fields of the first line are whole numbers, such as years, above some that are none.

    Programs that write tables write all numbers of a column alike, 2 as 2.0 if any has a fraction.
    """
    return (
        all(re.fullmatch(r"[+-]?\d+", field) for field in fields)
        and len(second) == len(fields)
        and all(re.search("[.eE]", field) and _is_number(field) for field in second)
    )


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fault(path, delimiter, names, width):
    """The FileError for the first entry that is no number."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        for row in reader:
            if (names is not None and reader.line_num == 1) or not row:
                continue
            if len(row) != width:
                return FileError(
                    f"{path}: expected {width} entries in each line, received {len(row)} in line {reader.line_num}."
                )
            for place, text in enumerate(row):
                if not _is_number(text):
                    column = f"column {place}" if names is None else f"column {names[place]!r}"
                    received = f"{text[:40]!r}" if text.strip() else "a missing entry"
                    names_too = " If it names the columns, no name may be a number." * (reader.line_num == 1)
                    return FileError(
                        f"{path}: expected numbers in {column}, received {received} in line {reader.line_num}. Drop or "
                        f"fill in such rows, or leave the column out.{names_too}"
                    )
    return FileError(f"{path}: expected a table of numbers, received text that cannot be read as one.")
