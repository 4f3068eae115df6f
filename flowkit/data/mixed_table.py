"""Mixed tables from files, by polars: frames, and their rows as codes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flowkit.data import parquet
from flowkit.data.bounded import MAX_BYTES, reading
from flowkit.data.column_types import Category
from flowkit.data.csv_file import MISSING, read_head
from flowkit.data.table import Table
from flowkit.data.typed_columns import ContextColumns, TypedColumns, refuse, split_names

SUFFIXES = (".csv", ".tsv", ".parquet")


def read_frame(
    source: str | Path, max_bytes: int = MAX_BYTES, known: Iterable[TypedColumns | None] = ()
) -> Any:
    """Return the polars frame of a .csv, .tsv or .parquet file, dates among its types.

    Words of `known` columns stay words, also those that are numbers, such as the zip code 12. The first line of text
    holds names of columns, unless all of its entries are numbers: the names are then column_0, column_1, ...

    Raises FileNotFoundError if there is none, and FileError for a file that cannot be read or takes more than
    `max_bytes`, for names among which is a number, and if polars is not installed.
    """
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{source}: expected a .csv, .tsv or .parquet file, found none.")
    if path.suffix.lower() == ".parquet":
        return parquet.read_frame(path, max_bytes)
    polars = parquet.require_polars(path)
    separator, names = read_head(path, max_bytes)
    kinds = [pair for columns in known if columns for pair in zip(columns.names, columns.types, strict=True)]
    words = [name for name, kind in kinds if isinstance(kind, Category) and isinstance(kind.values[0], str)]
    with reading(path, "a table as text"):
        return polars.read_csv(
            path,
            separator=separator,
            has_header=names is not None,
            schema_overrides=dict.fromkeys(words, polars.String),
            null_values=list(MISSING),
            try_parse_dates=True,
            infer_schema_length=None,
        )


def typed_columns(
    frame: Any, types: Mapping[Any, Any], given: Iterable[Any], drop: Iterable[Any]
) -> tuple[TypedColumns, ContextColumns | None]:
    """Return the types of a frame's columns, and of those that the others are conditioned on or None.

    Raises ValueError for columns without a type, and for names that are no columns.
    """
    names, given = split_names(list(frame.columns), given, drop)
    inferred = TypedColumns.infer(frame[[*names, *given]], types)
    return inferred.some(names), inferred.some(given, ContextColumns)


def coded(
    frame: Any, columns: TypedColumns, given: ContextColumns | None, name: str
) -> tuple[Table, dict[int, str]]:
    """Return the rows of a frame as a `Table` of codes, and their wrong entries as `TypedColumns.coded` does.

    Columns that are not known are left out. Raises ValueError for a column that is not there.
    """

    def of(kind):
        return kind.coded(frame[[column for column in frame.columns if column in kind.names]])

    values, wrong = of(columns)
    context = None
    if given is not None:
        context, wrong_given = of(given)
        wrong = wrong_given | wrong
    return Table(values, columns.names, name, columns, context, given), wrong


def right_rows(frame: Any, columns: TypedColumns, given: ContextColumns | None, name: str) -> Table:
    """Return the rows of a frame as `coded` does; raise ValueError if one is wrong."""
    table, wrong = coded(frame, columns, given, name)
    refuse(wrong, f"{name}: ")
    return table
