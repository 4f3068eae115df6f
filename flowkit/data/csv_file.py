"""Tables as text: .csv and .tsv, with or without a line of names, with commas, semicolons or tabs."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_bytes, reading, regular_size
from flowkit.data.frame import check_names

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None", "?")  # a missing entry, as programs write it
_PER_BYTE = 4  # bytes of memory for each byte of text: the shortest number takes 2 bytes, and 8 as a float64
_LONGEST_LINE = 2**24  # characters
_ADVICE = (
    "Write numbers with a decimal point, as many in each line, and no other lines; drop or fill in rows with missing "
    "entries, or leave the column out, as pandas' frame.drop(columns=[...]) does. With polars installed, `flowkit "
    "train table` reads such columns."
)


def read_csv(path: Path, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the numbers, float64 (rows, columns), and the names of the columns or None.

    Raises FileError for text that is no table, for an entry that is missing or no number, with its row and column, and
    for more than `max_bytes`.
    """
    delimiter, names = read_head(path, max_bytes)
    try:
        values = np.loadtxt(
            path,
            comments=None,
            delimiter=delimiter,
            ndmin=2,
            quotechar='"',
            skiprows=0 if names is None else 1,
            encoding="utf-8-sig",
        )
    except ValueError as error:
        raise FileError(
            f"{path}: expected a table of numbers, received others: {_shortened(str(error))}. {_ADVICE}"
        ) from None
    if names and len(names) != values.shape[1]:
        raise FileError(
            f"{path}: expected a name for each of the {values.shape[1]} columns, received {len(names)} names in the "
            "first line. Name or leave out a column of row numbers: R writes none with write.csv(row.names=FALSE)."
        )
    return values, names


def read_head(path: Path, max_bytes: int) -> tuple[str, tuple[str, ...] | None]:
    """Return what delimits the entries of a table as text, and the names in its first line, or None for numbers.

    Raises FileError for more than `max_bytes`, and for names that name no columns or among which is a number.
    """
    check_bytes(regular_size(path) * _PER_BYTE, max_bytes, str(path))
    with reading(path, "a table as text in UTF-8"), path.open(encoding="utf-8-sig", newline="") as file:
        first, second = file.readline(_LONGEST_LINE), file.readline(_LONGEST_LINE)
        delimiter = max(",;\t", key=first.count)
        fields, below = (_fields(line, delimiter) for line in (first, second))
    if not any(fields):
        raise FileError(
            f"{path}: expected a table, received a file that is empty or begins with an empty line."
        )
    numbers = [field for field in fields if is_number(field)]
    if all(field in MISSING or field in numbers for field in fields):
        # Years above numbers with fractions: programs write all numbers of a column alike, 2 as 2.0 if any has one.
        if all(map(str.isdecimal, fields)) and below and not any(map(str.isdecimal, below)):
            raise FileError(
                f"{path}: expected a first line of names or of numbers, received {first.strip()[:40]!r} above "
                f"{second.strip()[:40]!r}, which reads like names that are whole numbers. If they are names, write a "
                "letter in each; if they are a row, a point."
            )
        return delimiter, None
    if numbers:
        raise FileError(
            f"{path}: got {first.strip()[:40]!r} in the first line, expected names of columns, none of which is "
            "a number. Write names in the first line."
        )
    if "" in fields:
        raise FileError(
            f"{path}: expected a name for each column, received none for column {fields.index('')}. Name it, or leave "
            "it out: such is the index that pandas writes without to_csv(index=False)."
        )
    try:
        names = check_names(tuple(fields))
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None
    if not second:
        raise FileError(f"{path}: expected rows of numbers below the names of columns, received none.")
    return delimiter, names


def _fields(line: str, delimiter: str) -> Sequence[str]:
    """Return the entries of a line of text."""
    return [field.strip() for field in next(csv.reader([line], delimiter=delimiter), [])]


def is_number(text: str) -> bool:
    """Return True for the text of a number, also of nan and inf."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shortened(message):
    """Return NumPy's message, which repeats the entry and ends with its place, without the middle of a long entry."""
    message = message.rstrip(".")
    return message if len(message) <= 300 else f"{message[:100]} ... {message[-100:]}"
