"""`flowkit sample`: a picture of what a flow has learned; for a table, more rows of it."""

import csv
from pathlib import Path
from typing import Annotated, Any

from typer import Option

import flowkit
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Label, Run, new_file, numbers
from flowkit.app.failure import CommandError, on_main, together


def sample(
    run: Run,
    count: Annotated[int, Option("-n", "--count", min=1, help="Images, or rows of a table.")] = 64,
    temperature: Annotated[
        Any,
        Option(parser=numbers, metavar="T", help="Spread of latents, or by level. Default: the recipe's."),
    ] = None,
    output: Annotated[Path | None, new_file("The .png file to write; of a table, .csv.")] = None,
    label: Label = None,
    seed: Annotated[int, Option(min=0, help="The same seed gives the same samples.")] = 0,
    given: Annotated[str | None, Option(metavar="FILE", help="A table of the given columns.")] = None,
    where: Annotated[
        list[str] | None,
        Option(metavar="COLUMN=ENTRY", help="Of a table: draw rows with this entry. May be repeated."),
    ] = None,
    zoom: Annotated[int | None, Option(min=1, max=64, help="Width of each pixel of an image.")] = None,
    backend: Backend = None,
):
    """Draw samples of a trained flow, as one picture; of a table, as one more table.

    In several processes, torchrun -m flowkit sample ..., each draws its part.
    """
    use(backend, shares=True)
    from flowkit.app.trained import given_label, kind_of_flow, loaded
    from flowkit.training import save_png

    folder, flow = loaded(run)
    recipe = folder.recipe()
    with together():
        kind = kind_of_flow(flow, run)
        images, output = kind.rows == "images", output or folder.path / kind.samples
        _check(run, flow, kind, output, zoom)
        context = _rows(flow, given, output)
        fixed = _fixed(flow, where or [], temperature)
        if label is not None:
            context = given_label(flow, label, folder)
    spread = temperature[0] if temperature and len(temperature) == 1 else temperature
    if spread is None:
        spread = 1.0 if recipe is None else recipe.sampling.temperature
    how = {"seed": seed, "where": fixed} if fixed else {"temperature": spread, "seed": seed, "spread": True}
    if images:
        picture = _picture(flow, count, context, zoom, how)
        on_main(lambda: save_png(output, picture))
    else:
        drawn = flow.sample(count, context, **how)
        on_main(lambda: _save_rows(output, flow, drawn))
    if flowkit.distributed.is_main():
        print(f"samples {output}")


def _check(run, flow, kind, output, zoom):
    """Raise a CommandError for a flow without samples to save, and for options that do not fit it."""
    wanted, images = Path(kind.samples).suffix, kind.rows == "images"
    if images and flow.dequantize is None:
        raise CommandError(f"{run}: got a flow of other values, expected one of stored images or of tables")
    if output.suffix.lower() != wanted:
        raise CommandError(f"--output: got {output}, expected a name that ends in {wanted}")
    if zoom is not None and not images:
        raise CommandError(f"--zoom: got a flow of tables, {run}, expected a flow of images")


def _rows(flow, given, output):
    """Return the frame of --given for a flow of a conditional table, None for another flow."""
    from flowkit.data.table import read_frame

    known = getattr(flow, "context_columns", None)
    if (known is None) != (given is None):
        expected = (
            "no table" if known is None else f"a table of the columns {', '.join(map(str, known.names))}"
        )
        raise CommandError(f"--given: got {given or 'no table'}, expected {expected}")
    if given is None:
        return None
    refuse_overwriting(output, given)
    return read_frame(given, [known])[list(known.names)]


def _fixed(flow, words, temperature):
    """Return {column: entry} of --where; raise a CommandError for a flow, a column or an entry that does not fit."""
    from flowkit.data.column_types import Category
    from flowkit.tables import TableFlow
    from flowkit.tables.fixed_entries import fixed_codes

    if words and not isinstance(flow, TableFlow):
        raise CommandError("--where: got another flow, expected one of a table whose columns have types")
    if words and temperature is not None:
        raise CommandError("--temperature: got one with --where, expected none beside fixed entries")
    found = {}
    for word in words:
        name, equals, entry = word.partition("=")
        if not equals:
            raise CommandError(f"--where: got {word!r}, expected COLUMN=ENTRY, such as segment=premium")
        kinds = dict(zip(flow.columns.names, flow.columns.types, strict=True))
        values = getattr(kinds.get(name), "values", ()) if isinstance(kinds.get(name), Category) else ()
        found[name] = {str(value): value for value in values}.get(entry, entry)
    try:
        if found:
            fixed_codes(flow, found)
    except ValueError as error:
        raise CommandError(f"--{error}") from error
    return found


def _picture(flow, count, context, zoom, how):
    """Return the picture of samples, each class beside its number unless the class is given."""
    from flowkit import training
    from flowkit.app.images import stored_levels
    from flowkit.training.pictures import class_places, titled

    levels = stored_levels(flow)
    if context is not None:
        images = flow.sample(count, context, **how)[:, 0]
        return training.enlarged(training.image_grid(images, levels=levels), zoom)
    grid = training.sample_grid(flow, count, classes=flow.num_classes, levels=levels, **how)
    picture = training.enlarged(grid, zoom)
    if not flow.num_classes:
        return picture
    return titled(picture, [str(label) for label in class_places(count, flow.num_classes)[:, 0]])


def _save_rows(path, flow, drawn):
    """Write samples of a table: a frame, or an array with as many digits as its numbers differ in."""
    import numpy as np

    from flowkit.data.frame import is_frame

    if is_frame(drawn):
        save_frame(path, drawn)
    else:
        save_table(path, flow.columns and flow.columns.names, np.asarray(drawn).astype(str))


def refuse_overwriting(output, table):
    """Raise a CommandError if a file to write is the table that is read."""
    if output.resolve() == Path(table).resolve():
        raise CommandError(f"--output: got the table {table} itself, expected another file.")


def save_frame(path, frame):
    """Write a frame as .csv in a single step."""
    import narwhals

    from flowkit.training import atomic_path

    with atomic_path(path) as temporary:
        narwhals.from_native(frame).write_csv(temporary)


def save_table(path, names, rows):
    """Write rows as .csv, their names in the first line, in a single step."""
    from flowkit.training import atomic_path

    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([] if names is None else [names])
        writer.writerows(rows)
