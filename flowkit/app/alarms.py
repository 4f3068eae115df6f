"""Alarms for the rows of a table, calibrated on rows that a flow was not trained on."""

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from flowkit.app.failure import CommandError

Alarms = Annotated[
    float | None,
    Option(metavar="RATE", help="Also mark unusual rows, and in which column, at this rate of false alarms."),
]
Calibration = Annotated[
    str | None,
    Option(metavar="FILE", help="Rows to calibrate --alarms on. Default: the run's test split."),
]


def alarm_columns(
    folder: Any, flow: Any, data: str, rate: float | None, calibration: str | None
) -> dict[str, list]:
    """Return {name: entries} of p-values, alarms, and of rows with an alarm the first column and what was expected.

    Nothing without a rate. `folder` is the `Trained` of the flow. Raises a CommandError for another flow, and if the
    calibration is too small or not known.
    """
    from flowkit.data.table import read_frame
    from flowkit.tables import TableFlow

    if rate is None:
        if calibration is not None:
            raise CommandError(
                "--calibration: got a table without --alarms, expected both. Pass --alarms 0.01"
            )
        return {}
    if not isinstance(flow, TableFlow):
        raise CommandError(
            f"--alarms: got {folder.name}, another flow, expected one of a table whose columns have types. Train one "
            "by flowkit train table"
        )
    known = [columns for columns in (flow.columns, flow.context_columns) if columns]
    names = {name for columns in known for name in columns.names}

    def rows_of(source):
        frame = read_frame(source, known)
        return frame[[name for name in frame.columns if name in names]]

    held_out = _held_out(folder, rows_of) if calibration is None else rows_of(calibration)
    try:
        detector = flow.detector(held_out, false_alarms=rate)
    except ValueError as error:
        advice = "" if calibration else " --calibration FILE gives other rows"
        raise CommandError(f"--alarms: {error}{advice}") from error
    rows = rows_of(data)
    found = detector(rows)
    odd = found["is_outlier"].to_numpy().nonzero()[0].tolist()
    first: dict[int, Any] = {}
    for line in detector.explain(rows[odd]).iter_rows(named=True) if odd else ():
        first.setdefault(odd[line["row"]], line)
    words = {
        name: [first.get(row, {}).get(name, "") for row in range(len(rows))]
        for name in ("column", "expected")
    }
    p_values = [f"{value:.6g}" for value in found["p_value"]]
    return {"p_value": p_values, "is_outlier": found["is_outlier"].to_list(), **words}


def _held_out(folder, rows_of):
    """Return the rows of the test split of the data that a flow was trained on."""
    from flowkit.data.dataset import split_rows

    recipe = folder.recipe()
    if recipe is None:
        raise CommandError(
            f"--alarms: got {folder.name}, which does not say what data it is of, expected rows that it was not "
            "trained on. --calibration FILE gives them"
        )
    rows = rows_of(recipe.data.source)
    return rows[split_rows(len(rows), "test", Path(recipe.data.source))]
