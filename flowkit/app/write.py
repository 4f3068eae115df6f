"""Files of tables and images that commands write: .csv, .tsv, .parquet and .npz, each in a single step."""

import re
import zipfile
from pathlib import Path

import numpy as np

from flowkit.app.failure import CommandError

TABLES = (".csv", ".tsv", ".parquet", ".npz")


def check_output(output: Path, endings: tuple[str, ...], *tables: str | None) -> None:
    """Raise a CommandError if a file to write has another ending, or is one of the `tables` that are read."""
    if output.suffix.lower() not in endings:
        folder = ", or one without an ending, for a folder" if "" in endings else ""
        known = ", ".join(filter(None, endings))
        raise CommandError(f"--output: got {output}, expected a name that ends in {known}{folder}")
    for table in filter(None, tables):
        file = re.sub(r"(\.npz):[^:/]+$", r"\1", table, flags=re.IGNORECASE)  # x.npz:array
        if output.resolve() == Path(file).expanduser().resolve():
            raise CommandError(f"--output: got the table {file} itself, expected another file.")


def cells_for(file, output):
    """Return the frame of a `TableFile` whose cells go to `output`: as they are written there, or with their types."""
    if output.suffix.lower() in (".csv", ".tsv"):
        return file.cells()
    mixed = [series.name for series in file.frame if series.dtype.is_object()]
    return file.frame.with_columns(file.cells()[mixed]) if mixed else file.frame


def write_table(path, frame, delimiter=None, header=True):
    """Write a polars frame, by the name's ending: .csv, .tsv, .parquet, or .npz with an array for each column.

    A .csv has semicolons if `delimiter` is one, otherwise commas. `header`: False leaves the names of columns out.
    """
    from flowkit.training.atomic import atomic_path

    suffix = path.suffix.lower()
    if suffix == ".npz":
        write_arrays(path, {series.name: _array(series) for series in frame})
        return
    with atomic_path(path) as temporary:
        if suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            mark = "\t" if suffix == ".tsv" else ";" if delimiter == ";" else ","
            frame.write_csv(temporary, separator=mark, include_header=header)


def write_arrays(path, arrays):
    """Write an .npz file of {name: array}, whatever the names."""
    from flowkit.training.atomic import add_arrays, atomic_path

    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        add_arrays(archive, arrays)


def _array(series):
    """Return a column as an array without objects: "" for a missing word, NaN for a missing number.

    Numbers that numpy would round, decimal ones and those beyond 2^53 beside missing ones, and times of day are words.
    """
    kind = series.dtype
    # numpy has no decimal numbers and no times of day, and no missing whole numbers: NaN needs float64, which rounds.
    rounded = (
        kind.is_integer()
        and series.null_count()
        and max(abs(series.min() or 0), abs(series.max() or 0)) > 2**53
    )
    if (kind.is_numeric() or kind.is_temporal()) and not (
        kind.is_decimal() or str(kind) == "Time" or rounded
    ):
        return series.to_numpy()
    if str(series.dtype) == "Boolean":
        return (series.cast(int).cast(float) if series.null_count() else series).to_numpy()
    return np.asarray(series.cast(str).fill_null("").to_list(), str)
