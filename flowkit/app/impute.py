"""`flowkit impute`: the missing entries of a table, drawn from a flow, as one more table."""

from pathlib import Path
from typing import Annotated

from typer import Option

from flowkit.app.backend import use
from flowkit.app.commands import Backend, Run, Table, new_file
from flowkit.app.failure import CommandError
from flowkit.app.sample import refuse_overwriting, save_frame


def impute(
    run: Run,
    data: Table,
    output: Annotated[Path, new_file("The .csv file to write.")] = Path("filled.csv"),
    sweeps: Annotated[int, Option(min=1, help="More sweeps forget better where the draws began.")] = 5,
    seed: Annotated[int, Option(min=0, help="Other seeds give other draws.")] = 0,
    backend: Backend = None,
):
    """Fill the missing entries of a table by draws from their density given the other entries of the row."""
    refuse_overwriting(output, data)
    use(backend)
    from flowkit.app.trained import loaded
    from flowkit.data.entries import absent_of
    from flowkit.data.table import read_frame
    from flowkit.tables import TableFlow

    _, flow = loaded(run)
    if not isinstance(flow, TableFlow):
        raise CommandError(
            f"{run}: got another flow, expected a flow of a table whose columns have types. Train one by "
            "flowkit train table."
        )
    known = [columns for columns in (flow.columns, flow.context_columns) if columns]
    frame = read_frame(data, known)
    names = {name for columns in known for name in columns.names}
    try:
        filled = flow.impute(
            frame[[name for name in frame.columns if name in names]], sweeps=sweeps, seed=seed
        )
    except ValueError as error:
        raise CommandError(f"{data}: {error}") from error
    modelled = list(flow.columns.names)
    count = sum(int(absent_of(series).sum()) for series in flow.columns.in_order(frame[modelled]))
    save_frame(output, frame.with_columns(filled[modelled]))
    print(f"filled {count:,} missing entries of {len(frame):,} rows")
    print(f"table {output}")
