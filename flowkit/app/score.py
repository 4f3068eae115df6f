"""`flowkit score`: the log-likelihood of each row of a table, as one more table."""

from pathlib import Path
from typing import Annotated

from flowkit.app.alarms import Alarms, Calibration, alarm_columns
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Draws, Json, Run, Table, new_file, print_json
from flowkit.app.failure import CommandError
from flowkit.app.sample import refuse_overwriting, save_table


def score(
    run: Run,
    data: Table,
    output: Annotated[Path, new_file("The .csv file to write.")] = Path("scores.csv"),
    samples: Draws = 1,
    alarms: Alarms = None,
    calibration: Calibration = None,
    json_: Json = False,
    backend: Backend = None,
):
    """Write the log-likelihood of each row of a table in nats, beside the columns that the flow does not read.

    Such a column may be the number or the name of a row. A row with an entry that the flow excludes, such as a number
    out of its range, has -inf.

    With --alarms also write the p-value of each row, uniform for rows as those of training, and for unusual rows the
    most surprising column, with what was expected.
    """
    refuse_overwriting(output, data)
    use(backend)
    import numpy as np

    from flowkit.app.trained import kind_of_flow, loaded

    folder, flow = loaded(run)
    kind = kind_of_flow(flow, run)
    if kind.rows == "images":
        raise CommandError(f"{run}: expected a flow of tables, got one of images. Use flowkit evaluate.")
    more = alarm_columns(folder, flow, data, alarms, calibration)
    scores, wrong, unread = kind.scored(flow, data, samples)
    right = len(scores) - len(wrong)
    name = "log_prob" if flow.exact == "exact" else f"log_prob_{flow.exact}"
    others = unread or {"row": np.arange(len(scores))}
    shown = [f"{score:.7g}" for score in scores]
    save_table(output, [*others, name, *more], zip(*others.values(), shown, *more.values(), strict=True))
    mean = float(np.delete(scores, [*wrong]).mean(dtype="float64")) if right else None
    first = f"got {wrong[min(wrong)]}" if wrong else None
    if json_:
        found = {
            "data": str(data),
            "rows": right,
            name: mean,
            "excluded": len(wrong),
            "first_excluded": first,
        }
        outliers = {"outliers": sum(more["is_outlier"])} if more else {}
        print_json(found | outliers | {"scores": str(output)})
        return
    if wrong:
        print(f"{len(wrong)} of {len(scores)} rows are excluded and have -inf, the first: {first}")
    if right:
        print(f"{name} {mean:.4f} nats on average  ({data}, {right} rows)")
    if more:
        print(
            f"{sum(more['is_outlier']):,} of {len(scores):,} rows are unusual, at a rate of false alarms of {alarms:g}"
        )
    print(f"scores {output}")
