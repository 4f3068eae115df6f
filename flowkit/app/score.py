"""`flowkit score`: the log-likelihood of each row of a table, as one more table."""

from pathlib import Path
from typing import Annotated

from flowkit.app.alarms import ALARMS, EXPLAINED, Alarms, Calibration, alarm_columns, detector_of
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Data, Draws, Json, Run, Source, new_file, one_of_both, print_json
from flowkit.app.failure import CommandError
from flowkit.app.write import TABLES, cells_for, check_output, write_table
from flowkit.app.wrong_rows import Strict, right_rows


def score(
    run: Run,
    data: Source = None,
    data_: Data = None,
    output: Annotated[Path, new_file("The .csv, .tsv, .parquet or .npz file to write.")] = Path("scores.csv"),
    samples: Draws = 1,
    alarms: Alarms = None,
    calibration: Calibration = None,
    strict: Strict = False,
    json_: Json = False,
    backend: Backend = None,
):
    """Write the log-likelihood of each row of a table in nats, beside the columns that the flow does not read.

    Such a column may be the number or the name of a row, and stays as the file has it. A row with an entry that the
    flow excludes, such as a number out of its range, is skipped, and has -inf.

    With --alarms also write the p-value of each row, uniform for rows as those of training, and for unusual rows the
    most surprising column, with what was expected; of more than 1,000 unusual rows for the 1,000 most unusual ones.
    """
    source = one_of_both(data, data_, "data", "a table with the columns that the flow was trained on")
    check_output(output, TABLES, source, calibration)
    use(backend)
    import numpy as np
    import polars

    from flowkit.app.tables import columns_read
    from flowkit.app.trained import kind_of_flow, loaded

    folder, flow = loaded(run)
    kind = kind_of_flow(flow, run)
    if kind.rows == "images":
        raise CommandError(f"{run}: expected a flow of tables, got one of images. Use flowkit evaluate.")
    detector = detector_of(folder, flow, alarms, calibration, samples)
    name = "log_prob" if flow.exact == "exact" else f"log_prob_{flow.exact}"
    file = kind.file_of(flow, source)
    others = [] if file is None else list(cells_for(file, output).drop(columns_read(flow)))
    _check_names(source, others, [name] if detector is None else [name, *ALARMS])
    scores, wrong = kind.scored(flow, source, file, samples)
    right = right_rows(wrong, len(scores), source, strict, how="skipped and have -inf", all_wrong=True)
    more = {} if detector is None else alarm_columns(detector, file.frame[columns_read(flow)])
    others = others or [polars.Series("row", np.arange(len(scores)))]
    scored = polars.Series(name, scores.astype("float32"))
    table = polars.DataFrame([*others, scored, *(polars.Series(*column) for column in more.items())])
    write_table(output, table, file and file.delimiter)
    mean = float(scores[right].mean(dtype="float64")) if len(right) else None
    if json_:
        first = f"got {wrong[min(wrong)]}" if wrong else None
        found = {
            "data": source,
            "rows": len(right),
            name: mean,
            "excluded": len(wrong),
            "first_excluded": first,
        }
        outliers = {"outliers": sum(more["is_outlier"])} if more else {}
        print_json(found | outliers | {"scores": str(output)})
        return
    if len(right):
        print(f"{name} {mean:.4f} nats on average  ({source}, {len(right)} rows)")
    if more:
        outliers = sum(more["is_outlier"])
        print(f"{outliers:,} of {len(scores):,} rows are unusual, at a rate of false alarms of {alarms:g}")
        if outliers > EXPLAINED:
            print(f"columns are named for the {EXPLAINED:,} most unusual ones")
    print(f"scores {output}")


def _check_names(source, others, written):
    """Raise a CommandError if a column of the table has the name of one that is written."""
    if taken := [series.name for series in others if series.name in written]:
        raise CommandError(
            f"{source}: got a column {taken[0]!r}, a name that flowkit score writes, expected other names. Rename it."
        )
