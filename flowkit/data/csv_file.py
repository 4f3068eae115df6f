"""Tables as text: .csv and .tsv, with or without a line of names, with commas, semicolons or tabs."""

import csv
import re
import warnings
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_bytes

_PER_BYTE = 4  # of memory for each of text: the shortest number takes 2 bytes, and 8 as a float64
_MISSING = {"null", "none", "missing", "unknown", "nil", "nat"}  # as databases and people write it


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
        raise FileError(
            f"{path}: expected a table as text in UTF-8, received other bytes. Save it as UTF-8, as pandas.read_csv("
            "..., encoding='latin-1') and to_csv do."
        ) from None
    delimiter = max(",;\t", key=first.count)
    fields, second = (
        [field.strip() for field in next(csv.reader([line], delimiter=delimiter), [])]
        for line in (first, next_line)
    )
    if not first:
        raise FileError(f"{path}: expected a table, received an empty file.")
    if not any(fields):
        raise FileError(
            f"{path}: expected a table, received a file whose first line is empty. Remove the lines above the table."
        )
    names = None if any(_is_number(field) for field in fields) else tuple(fields)
    if names is None and _are_names(fields, second):
        above, below = (delimiter.join(line)[:40] for line in (fields, second))
        raise FileError(
            f"{path}: expected a first line of names or of numbers, received {above!r} above {below!r}, which reads "
            "like names that are whole numbers. If they are names, write a letter in each; if they are a row, a point."
        )
    if names is not None:
        _check_names(path, names)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
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
        raise FileError(f"{path}: expected rows of numbers below the names of columns, received none.")
    return values, names


def _check_names(path, names):
    """Raise a FileError unless each column has a name of its own."""
    if "" in names:
        raise FileError(
            f"{path}: expected a name for each column, received none for column {names.index('')}. Name it, or leave "
            "it out: such is the index that pandas writes, unless it is told to_csv(index=False)."
        )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise FileError(
            f"{path}: expected a name of its own for each column, received {twice[0]!r} more than once. Rename or "
            "leave out all but one."
        )


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
                    f"{path}: expected {width} {'entry' if width == 1 else 'entries'} in each line, as in the first, "
                    f"received {len(row)} in line {reader.line_num}. Repair it, or remove what is no table, such as "
                    "titles and lines of comment."
                )
            for place, text in enumerate(row):
                if not _is_number(text):
                    column = f"column {place}" if names is None else f"column {names[place]!r}"
                    received = f"{text[:40]!r}" if text.strip() else "a missing entry"
                    names_too = " If it names the columns, no name may be a number." * (reader.line_num == 1)
                    leave_out = "leave the column out, as pandas' frame.drop(columns=[...]) does."
                    advice = f"Drop or fill in such rows, or {leave_out}"
                    missing = text.strip(" #<>!?-").lower() in _MISSING
                    if not missing and re.search("[^\\W\\d_]{3}", text):  # a word, and so are the others
                        advice = f"A flow takes numbers alone: {leave_out}"
                    if re.fullmatch(r"\s*[+-]?[\d.]*,\d+([eE][+-]?\d+)?\s*", text):
                        advice = (
                            "Write numbers with a decimal point: pandas.read_csv(..., decimal=',') reads them so, and "
                            "to_csv writes points."
                        )
                    return FileError(
                        f"{path}: expected numbers in {column}, received {received} in line {reader.line_num}. "
                        f"{advice}{names_too}"
                    )
    return FileError(f"{path}: expected a table of numbers, received text that cannot be read as one.")
