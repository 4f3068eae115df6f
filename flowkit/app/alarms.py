"""Alarms for the rows of a table, calibrated on rows that a flow was not trained on."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Option

from flowkit.app.failure import CommandError

ALARMS = ("p_value", "is_outlier", "column", "expected")  # columns that `alarm_columns` returns
EXPLAINED = 1000  # rows, at most

Alarms = Annotated[
    float | None,
    Option(metavar="RATE", help="Also mark unusual rows, and in which column, at this rate of false alarms."),
]
Calibration = Annotated[
    str | None,
    Option(metavar="FILE", help="Rows to calibrate --alarms on. Default: the run's test split."),
]


def detector_of(folder: Any, flow: Any, rate: float | None, calibration: str | None, samples: int) -> Any:
    """Return the `Detector` of the flow of a `Trained`, with a rate of false alarms; None without a rate.

    Raises a CommandError for another flow, and if the calibration is too small or not known.
    """
    from flowkit.app.tables import columns_read
    from flowkit.app.trained import require_types
    from flowkit.data.dataset import split_rows
    from flowkit.data.table import read_frame

    if rate is None:
        if calibration is not None:
            raise CommandError(
                "--calibration: got a table without --alarms, expected both. Pass --alarms 0.01"
            )
        return None
    require_types(flow, f"--alarms: {folder.name}")
    source = calibration or _trained_on(folder)
    frame = read_frame(source, (flow.columns, flow.context_columns))
    if calibration is None:
        frame = frame[split_rows(len(frame), "test", Path(source))]
    draws = {} if samples == 1 else {"samples": samples}
    try:
        return flow.detector(frame[columns_read(flow)], false_alarms=rate, **draws)
    except ValueError as error:
        advice = "" if calibration else " --calibration FILE gives other rows"
        raise CommandError(f"--alarms: {error}{advice}") from error


def alarm_columns(detector: Any, rows: Any) -> dict[str, list]:
    """Return {name: entries} of `ALARMS`: of the most unusual rows also the first column, and what was expected."""
    found = detector(rows)
    odd = found["is_outlier"].to_numpy().nonzero()[0]
    odd = np.sort(odd[np.argsort(-found["score"].to_numpy()[odd], kind="stable")[:EXPLAINED]]).tolist()
    first: dict[int, Any] = {}
    for line in detector.explain(rows[odd]).iter_rows(named=True) if odd else ():
        first.setdefault(odd[line["row"]], line)
    words = {
        name: [first.get(row, {}).get(name, "") for row in range(len(rows))]
        for name in ("column", "expected")
    }
    return {"p_value": found["p_value"].to_list(), "is_outlier": found["is_outlier"].to_list(), **words}


def _trained_on(folder):
    """Return the path of the data that a flow was trained on."""
    recipe = folder.recipe()
    if recipe is None:
        raise CommandError(
            f"--alarms: got {folder.name}, which does not say what data it is of, expected rows that it was not "
            "trained on. --calibration FILE gives them"
        )
    return recipe.data.source
