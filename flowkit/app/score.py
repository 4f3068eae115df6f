"""`flowkit score`: the log-likelihood of each row of a table, as one more table."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from flowkit.app.backend import use
from flowkit.app.commands import Backend, Json, Run, new_file
from flowkit.app.failure import CommandError
from flowkit.app.sample import save_table


def score(
    run: Run,
    data: Annotated[str, Argument(help="A table with the columns that the flow was trained on.")],
    output: Annotated[Path, new_file("The .csv file to write.")] = Path("scores.csv"),
    samples: Annotated[int, Option(min=1, help="Draws of noise: more give a tighter bound.")] = 1,
    json_: Json = False,
    backend: Backend = None,
):
    """Write the log-likelihood of each row of a table in nats, beside the columns that the flow does not read.

    Such a column may be the number or the name of a row. A row with an entry that the flow excludes, such as a number
    out of its range or an unseen category, has -inf.
    """
    if output.resolve() == Path(data).resolve():
        raise CommandError(f"--output: got the table {data} itself, expected another file.")
    use(backend)
    import numpy as np

    from flowkit.app.trained import kind_of_flow, loaded
    from flowkit.data.mixed_table import read_frame
    from flowkit.flow import TableFlow
    from flowkit.training.atomic import json_text

    _, flow = loaded(run)
    kind = kind_of_flow(flow, run)
    if kind.rows == "images":
        raise CommandError(f"{run}: expected a flow of tables, got one of images. Use flowkit evaluate.")
    table, wrong = kind.to_score(flow, data)
    x, context = kind.given(flow, table)
    scores = np.full(len(x), -np.inf)
    if len(wrong) < len(x):  # a wrong row has the entries of a right one
        scores = np.asarray(flow.log_prob(x, context, samples=samples), "float64")
        scores[[*wrong]] = -np.inf
    right = len(x) - len(wrong)
    name = "log_prob" if flow.exact == "exact" else f"log_prob_{flow.exact}"
    others = {"row": np.arange(len(x))}
    if isinstance(flow, TableFlow):
        frame, known = read_frame(data), {*flow.columns.names}
        known |= {*flow.context_columns.names} if flow.context_columns else set()
        unread = {column: frame[column].to_list() for column in frame.columns if column not in known}
        others = unread or others
    shown = [f"{score:.7g}" for score in scores]
    save_table(output, [*others, name], zip(*others.values(), shown, strict=True))
    mean = float(np.delete(scores, [*wrong]).mean()) if right else None
    first = f"got {wrong[min(wrong)]}" if wrong else None
    if json_:
        found = {
            "data": str(data),
            "rows": right,
            name: mean,
            "excluded": len(wrong),
            "first_excluded": first,
        }
        print(json_text(found | {"scores": str(output)}))
        return
    if wrong:
        print(f"{len(wrong)} of {len(x)} rows are excluded and have -inf, the first: {first}")
    if right:
        print(f"{name} {mean:.4f} nats on average  ({data}, {right} rows)")
    print(f"scores {output}")
