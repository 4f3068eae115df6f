"""`flowkit impute`: the missing entries of a table, drawn from a flow, as one more table."""

from pathlib import Path
from typing import Annotated

from typer import Option

from flowkit.app.backend import use
from flowkit.app.commands import Backend, Data, Run, Seed, Source, new_file, one_of_both
from flowkit.app.failure import CommandError
from flowkit.app.write import TABLES, cells_for, check_output, write_table
from flowkit.app.wrong_rows import Strict, right_rows


def impute(
    run: Run,
    data: Source = None,
    data_: Data = None,
    output: Annotated[Path, new_file("The .csv, .tsv, .parquet or .npz file to write.")] = Path("filled.csv"),
    sweeps: Annotated[
        int,
        Option(min=1, help="Sweeps over the missing entries; with more, draws depend less on their start."),
    ] = 5,
    seed: Seed = 0,
    strict: Strict = False,
    backend: Backend = None,
):
    """Fill the missing entries of a table by draws from their density given the other entries of the row.

    All other entries stay as the file has them, and draws are written as the others of their column. A row with an
    entry that the flow excludes, such as a number out of its range, is skipped, and keeps its missing entries.
    """
    source = one_of_both(data, data_, "data", "a table with the columns that the flow was trained on")
    check_output(output, TABLES, source)
    use(backend)
    from flowkit.app.tables import columns_read
    from flowkit.app.trained import loaded, require_types
    from flowkit.data.table import coded_rows, read_table

    _, flow = loaded(run)
    require_types(flow, run)
    known = [flow.columns, flow.context_columns]
    file = read_table(source, known)
    try:
        _, wrong = coded_rows(file.frame, *known, source, gaps=True)
        right = right_rows(wrong, len(file.frame), source, strict)
        filled = flow.impute(file.rows(right, columns_read(flow)), sweeps=sweeps, seed=seed)
    except ValueError as error:
        raise CommandError(f"{source}: {error}") from error
    cells = cells_for(file, output)
    table, count = _filled(file, cells, filled[list(flow.columns.names)], right)
    write_table(output, table, file.delimiter, file.named)
    print(f"filled {count:,} missing entries of {len(right):,} rows")
    print(f"table {output}")


def _filled(file, cells, filled, right):
    """Return (the cells of a file with those of `filled` in place of missing ones in `right` rows, their number)."""
    import numpy as np
    import polars

    from flowkit.data.cells import like_cells
    from flowkit.data.entries import absent_of
    from flowkit.data.frame import Columns

    count = 0
    for series in Columns.of(filled).in_order(file.frame[filled.columns]):
        name, absent = series.name, absent_of(series)[right]
        if not absent.any():
            continue
        gone, entries = right[absent].tolist(), filled[name].filter(polars.Series(absent))
        if cells[name].dtype == polars.String:
            entries = like_cells(entries, file.frame[name], cells[name], file.formats.get(name))
        column = np.asarray(cells[name].to_list(), object)
        column[gone] = list(entries)
        dtype = filled[name].dtype if cells[name].dtype == polars.Null else cells[name].dtype
        cells = cells.with_columns(polars.Series(name, column.tolist(), dtype, strict=False))
        count += len(gone)
    return cells, count
