"""`flowkit evaluate`: bits per dimension of images that were not trained on; of tables, nats of such rows."""

import math
from dataclasses import replace
from typing import Annotated

import typer

import flowkit
from flowkit.app.backend import use
from flowkit.app.failure import CommandError, together
from flowkit.app.options import Backend, Data, Run


def evaluate(
    run: Run,
    data: Data = None,
    samples: Annotated[int, typer.Option(min=1, help="Draws of noise: more give a tighter bound.")] = 1,
    levels: Annotated[bool, typer.Option("--levels", help="Also print the bits of each level.")] = False,
    backend: Backend = None,
):
    """Print bits per dimension on the test split, with the standard error over images; of a table, nats.

    In several processes, torchrun -m flowkit evaluate ..., each scores its part.
    """
    use(backend, shares=True)
    from rich.console import Console

    from flowkit.app.trained import trained_in_all

    folder = trained_in_all(run)
    with together():
        flow, kind, rows, test = _rows(folder, run, data, samples, levels)
    mean, error = kind.mean_score(flow, rows, samples)
    table = _level_table(flow, *kind.given(flow, rows)) if levels else None
    if not flowkit.distributed.is_main():
        return
    if kind.rows == "images":
        draws = "1 draw of noise" if samples == 1 else f"{samples} draws of noise"
        print(f"test bits/dim {mean:.4f} +- {error:.4f}  ({rows.name}, {len(rows)} images, {draws} each)")
    else:
        print(
            f"{'test ' * test}log-likelihood {mean:.4f} +- {error:.4f} nats  ({rows.name}, {len(rows)} rows)"
        )
    if table is not None:
        Console().print(table)


def _rows(folder, run, source, samples, levels):
    """Return (the flow, what it is of, the rows to score, True if they are the test rows of its training data).

    Those, wherever they lie now; of another table all rows, unless its file has test rows of its own.
    """
    from flowkit.app.experiment import load_other_table
    from flowkit.app.trained import data_of, kind_of_flow

    flow = folder.load_flow()
    kind = kind_of_flow(flow, run)
    if kind.rows == "images":
        rows, test = data_of(folder, flow, "test", source), True
    elif samples != 1 or levels:
        option = "--levels" if levels else "--samples"
        raise CommandError(
            f"{option}: the flow is one of tables, whose likelihood is exact and comes in one piece"
        )
    elif (recipe := folder.recipe(source)) is None and source is not None:
        rows, test = kind.of_source(flow, source, "test", cut=False), False
    else:
        own = recipe is None or source is None or recipe.data.source == folder.recipe().data.source
        test = own or _same_data(folder, flow, kind, recipe)
        rows = data_of(folder, flow, "test", source) if test else load_other_table(recipe)
    kind.given(flow, rows)  # raises for other data
    return flow, kind, rows, test


def _same_data(folder, flow, kind, recipe):
    """Return True if `recipe` names the rows that the flow was trained on, or may do so: older runs keep no sum."""
    from flowkit.app.experiment import load

    trained_on = folder.data_sha256()
    if trained_on is None:
        return True
    splits = ["train", *(["validation"] if recipe.data.validation else []), "test"]
    try:
        tables = [load(recipe, split) for split in splits]
        values = [kind.given(flow, table)[0] for table in tables]
    except ValueError:  # fewer rows than can be cut as those were, or other columns
        return False
    names = flow.columns and flow.columns.names
    ordered = [
        replace(table, values=x, names=table.names and (names or table.names))
        for table, x in zip(tables, values, strict=True)
    ]
    return trained_on == flowkit.data.content_hash(*ordered)


def _level_table(flow, images, labels):
    """Return a table of what each level carries of the bits/dim of one draw of noise; the rows add up to the last.

    Each process scores its part of the images.
    """
    from rich.table import Table

    from flowkit.app.images import mean_and_error
    from flowkit.bijectors.levels import find_levels
    from flowkit.evaluation.levels import level_bits_in_a_group

    events = find_levels(flow.bijector, "--levels")[1].latent_events
    bits = level_bits_in_a_group(flow, images, labels)
    size = math.prod(flow.event_shape)
    table = Table("level", "latents", "of all", "bits/dim", "bits/latent", title="What each level carries")
    for column in table.columns[1:]:
        column.justify = "right"
    for level, (event, column) in enumerate(zip(events, bits.T, strict=True)):
        mean, error = mean_and_error(column)
        share = math.prod(event) / size
        shape = " x ".join(map(str, event))
        table.add_row(str(level), shape, f"{share:.1%}", f"{mean:.4f} +- {error:.4f}", f"{mean / share:.3f}")
    table.add_section()
    mean, error = mean_and_error(bits.sum(axis=1))
    table.add_row("all", f"{size}", "100.0%", f"{mean:.4f} +- {error:.4f}", f"{mean:.3f}")
    return table
