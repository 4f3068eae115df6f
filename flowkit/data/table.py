"""Tables from files: numbers from .csv, .tsv, .parquet, .npy and .npz; mixed ones, read by polars, as codes."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flowkit.contract.arguments import checked, shown
from flowkit.data.bounded import FileError, NpzFile, check_bytes, map_npy
from flowkit.data.column_types import Category
from flowkit.data.dataset import Limit, Split, split_rows
from flowkit.data.frame import Columns
from flowkit.data.frame_file import is_number, read_named
from flowkit.data.source import existing_path
from flowkit.data.typed_columns import ContextColumns, TypedColumns, refuse, split_names

SUFFIXES = (".csv", ".tsv", ".parquet")  # of files that may hold mixed tables
_PAIRS = (("train", "test"), ("x_train", "x_test"))
_READ = "a table, .csv, .tsv, .parquet, .npy or .npz"
_WORDS = (
    "expected a number with a decimal point. Leave the column out, as pandas' frame.drop(columns=[...]) does, or train "
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
    path, key = existing_path(source)
    values, names, whole = _read(path, split, key)
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
    if len(wrong := np.argwhere(~np.isfinite(table.values))):
        row, column = map(int, wrong[0])
        raise FileError(  # with the row in the file, which is not that in the split
            f"{path}: got {table.values[row, column]} in column "
            f"{column if names is None else repr(names[column])} of row {rows[row]}, counted from 0, expected finite "
            "numbers. Drop or fill in these rows, or leave the column out."
        )
    return table


def _read(path, split, key):
    """Return (entries, names of columns or None, True if the entries are those of both splits)."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        frame, named = read_named(path)
        return _numbers(frame, path), tuple(frame.columns) if named else None, True
    if suffix == ".npy":
        return map_npy(path), None, True
    if suffix == ".npz":
        arrays = NpzFile(path)
        chosen, whole = arrays.choose(_PAIRS, split, key)
        return arrays.read(chosen), None, whole
    raise FileError(f"{path}: got another kind of file or a folder, expected {_READ}. {_ADVICE}")


def _numbers(frame, path):
    """Return the entries of a frame as float64, NaN for missing ones; raise FileError for words and what rounds."""
    for series in frame:
        name = series.name
        words = series if str(series.dtype) == "String" else ()
        found = ((row, entry) for row, entry in enumerate(words) if entry and not is_number(entry))
        for row, entry in found:
            raise FileError(
                f"{path}: got {shown(entry)} in column {name!r} of row {row}, counted from 0, {_WORDS}"
            )
        if series.dtype.is_integer() and max(abs(series.max() or 0), abs(series.min() or 0)) > 2**53:
            raise FileError(
                f"{path}: got whole numbers beyond 2^53 in column {name!r}, which float64 rounds. {_ROUNDED}"
            )
    try:
        return Columns.of(frame).values(frame)
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None


# Mixed tables


def read_frame(source: str | Path, known: Iterable[TypedColumns | None] = ()) -> Any:
    """Return the polars frame of a .csv, .tsv or .parquet file, dates among its types.

    Words of `known` columns stay words, also those that are numbers, such as the zip code 12. The first line of text
    holds names of columns, unless all of its entries are numbers: the names are then column_0, column_1, ...

    Raises FileNotFoundError if there is none, and FileError for a file that cannot be read or takes too much memory,
    and for names among which is a number.
    """
    path, _ = existing_path(source)
    kinds = [pair for columns in known if columns for pair in zip(columns.names, columns.types, strict=True)]
    words = [name for name, kind in kinds if isinstance(kind, Category) and isinstance(kind.values[0], str)]
    return read_named(path, words)[0]


def typed_columns(
    frame: Any, types: Mapping[Any, Any], given: Iterable[Any], drop: Iterable[Any]
) -> tuple[TypedColumns, ContextColumns | None]:
    """Return the types of a frame's columns, and of those that the others are conditioned on or None.

    Raises ValueError for columns without a type, and for names that are no columns.
    """
    names, given = split_names(list(frame.columns), given, drop)
    inferred = TypedColumns.infer(frame[[*names, *given]], types, given)
    return inferred.some(names), inferred.some(given, ContextColumns)


def right_rows(frame: Any, columns: TypedColumns, given: ContextColumns | None, name: str) -> Table:
    """Return the rows of a frame as a `Table` of codes. Columns that are not known are left out.

    Raises ValueError for a column that is not there, and for a wrong entry.
    """

    def of(kind):
        return kind.coded(frame[[column for column in frame.columns if column in kind.names]])

    values, wrong = of(columns)
    context, wrong_given = (None, {}) if given is None else of(given)
    refuse(wrong_given | wrong, f"{name}: ")
    return Table(values, columns.names, name, columns, context, given)
