"""Tables from files: numbers from .csv, .tsv, .parquet, .npy and .npz; mixed ones, read by polars, as codes."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.contract.arguments import checked, shown
from flowkit.data.bounded import FileError, NpzFile, check_bytes, map_npy
from flowkit.data.category import Category
from flowkit.data.column_types import Date
from flowkit.data.dataset import Limit, Split, split_rows
from flowkit.data.frame import Columns
from flowkit.data.frame_file import TableFile, is_number, read_table_file
from flowkit.data.source import existing_path
from flowkit.data.typed_columns import ContextColumns, TypedColumns, split_names, wrong_entry

SUFFIXES = (".csv", ".tsv", ".parquet")  # of files that may hold mixed tables
_PAIRS = (("train", "test"), ("x_train", "x_test"))
_READ = "a table, .csv, .tsv, .parquet, .npy or .npz"
_FINITE = "finite numbers. Drop or fill in these rows, or leave the column out."
_WORDS = (
    "a number with a decimal point. Leave the column out, as pandas' frame.drop(columns=[...]) does, or train "
    "a mixed table by flowkit train table."
)
_ROUNDED = "Subtract the least from all, or leave the column out if it numbers the rows."
_ADVICE = (
    "Unpack archives, and save a table as .csv, as spreadsheets and pandas' to_csv do. Images take a recipe of images, "
    "such as glow/fashion-mnist."
)


@dataclass(frozen=True, eq=False)
class Table:
    """One split of a table, as plain numpy.

    Attributes:
        values: float64, shape `(rows, columns)`.
        names: the names of the columns, or None if the file has none.
        name: the path that was loaded.
        typed, context, given: of a mixed table, whose values are codes: the types of its columns, and what networks see
            of the columns that it is conditioned on, with their types; None otherwise.

    >>> Table(np.zeros((4, 2)), ("height", "age"), "people.csv")
    Table(name='people.csv', values=(4, 2), names=('height', 'age'))
    """

    values: np.ndarray
    names: tuple[str | int, ...] | None
    name: str
    typed: TypedColumns | None = None
    context: np.ndarray | None = None
    given: ContextColumns | None = None

    def __len__(self) -> int:
        return len(self.values)

    def hashed(self) -> tuple[list[Any], list[Any]]:
        """Return what `content_hash` depends on: a description, and the arrays."""
        return [self.names], [self.values]

    def __repr__(self):
        # The generated repr would print the numbers.
        return f"Table(name={self.name!r}, values={self.values.shape}, names={self.names})"

    def take(self, rows: np.ndarray) -> "Table":
        """Return the rows at some places."""
        context = None if self.context is None else self.context[rows]
        return replace(self, values=self.values[rows], context=context)

    @property
    def columns(self) -> Columns | None:
        """Return the names as `Columns`, which a flow keeps in `Flow.columns`; None without names."""
        if self.typed is not None:
            return self.typed
        return None if self.names is None else Columns(self.names, None)


@checked
def load_table(
    source: str | os.PathLike,
    split: Split = "train",
    *,
    cut: bool = True,
    limit: Limit | None = None,
) -> Table:
    """Load one split of a table of numbers from a file.

    Args:
        source: the path of a .csv or .tsv file (commas, semicolons or tabs, names in the first line or none), a
            .parquet file, an .npy file, or an .npz file with train and test, x_train and
            x_test, or one array (`file.npz:name` if it holds several).
        split: "train" or "test". Files without splits of their own are cut 90/10 by row number, the same way
            each time.
        cut: False returns all rows of a file without splits of its own, whatever the split.
        limit: keep only the first rows of the split.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for anything but a table of numbers, and for one that takes more than half of this machine's memory,
            in one line that says where.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.csv"
        >>> _ = path.write_text("age,height\\n30,1.75\\n31.5,1.80\\n")
        >>> load_table(path).names
        ('age', 'height')
    """
    table, wrong = read_numbers(source, split, cut=cut, limit=limit)
    for _, entry in wrong:
        raise FileError(f"{table.name}: got {entry}")
    return table


def read_numbers(
    source: str | os.PathLike, split: str, *, cut: bool = True, limit: int | None = None
) -> tuple[Table, Iterator[tuple[int, str]]]:
    """Return (the table, as `load_table` does, and (row, what is wrong, in words) of each entry that is not finite)."""
    path, key = existing_path(source)
    values, names, words, whole = _read(path, split, key)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "iuf":
        raise FileError(
            f"{path}: got {values.dtype} of shape {values.shape}, expected a table of real numbers, (rows, columns). "
            "Save it with rows and columns: x[:, None] is one column, x.reshape(len(x), -1) flat rows."
        )
    rows = split_rows(len(values), split, path) if whole and cut else np.arange(len(values))
    rows = rows[:limit]
    check_bytes(path, len(rows), values.shape[1], 8)
    values = values[rows]
    if values.dtype.kind in "iu" and (values.max() > 2**53 or values.min() < -(2**53)):
        raise FileError(f"{path}: got whole numbers beyond 2^53, which float64 rounds. {_ROUNDED}")
    table = Table(np.asarray(values, "float64"), names, str(source))
    return table, _wrong_numbers(table, rows, words)


def _wrong_numbers(table, rows, words):
    """Yield (row, what is wrong) of each entry that is not finite; `rows` are those of the file, unlike in a split."""
    for row, column in np.argwhere(~np.isfinite(table.values)).tolist():
        place = int(rows[row])
        word = words.get((place, column))
        received = f"{table.values[row, column]}" if word is None else shown(word)
        name = column if table.names is None else table.names[column]
        yield row, wrong_entry(received, name, place, _FINITE if word is None else _WORDS)


def _read(path, split, key):
    """Return (entries, names of columns or None, words among them by place, True if they are of both splits)."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return *_numbers(read_table_file(path)), True
    if suffix == ".npy":
        return map_npy(path), None, {}, True
    if suffix == ".npz":
        arrays = NpzFile(path)
        chosen, whole = arrays.choose(_PAIRS, split, key)
        return arrays.read(chosen), None, {}, whole
    raise FileError(f"{path}: got another kind of file or a folder, expected {_READ}. {_ADVICE}")


def _numbers(file):
    """Return (entries of a file as float64, names or None, {(row, column): word}); NaN for missing ones and words.

    Raises FileError for what rounds, and for columns that hold neither numbers nor words.
    """
    columns, words = list(file.frame), dict[tuple[int, int], str]()
    for place, series in enumerate(columns):
        if str(series.dtype) == "String":
            odd = {row: entry for row, entry in enumerate(series) if entry and not is_number(entry)}
            words |= {(row, place): entry for row, entry in odd.items()}
            numbers = [
                float(entry) if entry and row not in odd else math.nan for row, entry in enumerate(series)
            ]
            columns[place] = type(series)(series.name, numbers)
        if series.dtype.is_integer() and max(abs(series.max() or 0), abs(series.min() or 0)) > 2**53:
            raise FileError(
                f"{file.path}: got whole numbers beyond 2^53 in column {series.name!r}, which float64 rounds. "
                f"{_ROUNDED}"
            )
    try:
        values = Columns.of(file.frame).values(file.frame.with_columns(columns))
    except ValueError as error:
        raise FileError(f"{file.path}: {error}") from None
    return values, tuple(file.frame.columns) if file.named else None, words


# Mixed tables


def read_frame(source: str | Path, known: Iterable[TypedColumns | None] = ()) -> Any:
    """Return the polars frame of a .csv, .tsv or .parquet file, dates among its types: see `read_table`."""
    return read_table(source, known).frame


def read_table(source: str | Path, known: Iterable[TypedColumns | None] = ()) -> TableFile:
    """Return the mixed table in a .csv, .tsv or .parquet file.

    Words of `known` columns stay words, also those that are numbers, such as the zip code 12; of the others some
    entries may be words, which are wrong. The first line of text holds names of columns, unless all of its entries are
    numbers: the names are then column_0, column_1, ...

    Raises FileNotFoundError if there is none, and FileError for a file that cannot be read or takes too much memory,
    and for names among which is a number.
    """
    path, _ = existing_path(source)
    kinds = [pair for columns in known if columns for pair in zip(columns.names, columns.types, strict=True)]
    return read_table_file(path, {str(name): _held(kind) for name, kind in kinds})


def _held(kind):
    """Return what a column of a type holds, in the words of `read_table_file`."""
    if isinstance(kind, Category):
        return {str: "words", bool: "truth"}.get(type(kind.values[0]), "numbers")
    return "dates" if isinstance(kind, Date) else "numbers"


def typed_columns(
    frame: Any, types: Mapping[Any, Any], given: Iterable[Any], drop: Iterable[Any]
) -> tuple[TypedColumns, ContextColumns | None]:
    """Return the types of a frame's columns, and of those that the others are conditioned on or None.

    Raises ValueError for columns without a type, and for names that are no columns.
    """
    names, given = split_names(list(frame.columns), given, drop)
    inferred = TypedColumns.infer(frame[[*names, *given]], types, given)
    return inferred.some(names), inferred.some(given, ContextColumns)


def coded_rows(
    frame: Any, columns: TypedColumns, given: ContextColumns | None, name: str, *, gaps: bool = False
) -> tuple[Table, dict[int, str]]:
    """Return (the rows of a frame as a `Table` of codes, {row: its first wrong entry, in words}).

    Columns that are not known are left out. With `gaps`, missing entries of `columns` are right and have the code NaN.
    Raises ValueError for a column that is not there.
    """

    def of(kind):
        known = frame[[column for column in frame.columns if column in kind.names]]
        return kind.coded(known, gaps=gaps and kind is columns)

    values, wrong = of(columns)
    context, wrong_given = (None, {}) if given is None else of(given)
    return Table(values, columns.names, name, columns, context, given), wrong_given | wrong
