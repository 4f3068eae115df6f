"""Tables as text: .csv and .tsv, with or without a line of names, with commas, semicolons or tabs."""

import csv
import re
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_bytes, reading
from flowkit.data.frame import check_names

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None", "?")  # a missing entry, as programs write it
_PER_BYTE = 4  # bytes of memory for each byte of text: the shortest number takes 2 bytes, and 8 as a float64
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
        # NumPy repeats the entry, which may be long, and ends with its place.
        reason = re.sub(r"(.{100}).*(.{100})", r"\1 ... \2", str(error).rstrip("."), flags=re.DOTALL)
        raise FileError(
            f"{path}: got other entries ({reason}), expected a table of numbers. {_ADVICE}"
        ) from None
    if names and len(names) != values.shape[1]:
        raise FileError(
            f"{path}: got {len(names)} names in the first line, expected one for each of the {values.shape[1]} "
            "columns. Name or leave out a column of row numbers: R writes none with write.csv(row.names=FALSE)."
        )
    return values, names


def read_head(path: Path, max_bytes: int) -> tuple[str, tuple[str, ...] | None]:
    """Return what delimits the entries of a table as text, and the names in its first line, or None for numbers.

    Raises FileError for more than `max_bytes`, and for names that name no columns or among which is a number.
    """
    check_bytes(path.stat().st_size * _PER_BYTE, max_bytes, str(path))
    with reading(path, "a table as text in UTF-8"), path.open(encoding="utf-8-sig", newline="") as file:
        first, second = file.readline(), file.readline()
        delimiter = max(",;\t", key=first.count)
        fields = [field.strip() for field in next(csv.reader([first], delimiter=delimiter), [])]
    if not any(fields):
        raise FileError(f"{path}: got a file that is empty or begins with an empty line, expected a table.")
    if all(field in MISSING or is_number(field) for field in fields):
        # Programs write all numbers of a column alike, 2 as 2.0 if any has a fraction.
        below = second.strip().split(delimiter)
        if all(map(str.isdecimal, fields)) and second and not any(map(str.isdecimal, below)):
            raise FileError(
                f"{path}: got whole numbers in the first line above {second.strip()[:40]!r}, expected names or a row. "
                "Write a letter in each name, or a point in each number of a row."
            )
        return delimiter, None
    if "" in fields or any(map(is_number, fields)):
        raise FileError(
            f"{path}: got {first.strip()[:40]!r} in the first line, expected a name for each column, no number. Name "
            "all columns, or leave out the index that pandas writes without to_csv(index=False)."
        )
    try:
        names = check_names(tuple(fields))
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None
    if not second:
        raise FileError(f"{path}: got no rows, expected rows of numbers below the names of columns.")
    return delimiter, names


def is_number(text: str) -> bool:
    """Return True for the text of a number, also of nan and inf."""
    try:
        float(text)
    except ValueError:
        return False
    return True
