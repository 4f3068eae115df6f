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
        Option(
            parser=numbers,
            metavar="T",
            help="Spread of the latents, or of each level as 0.7,1. Default: the recipe's.",
        ),
    ] = None,
    output: Annotated[Path | None, new_file("The .png file to write; of a table, .csv.")] = None,
    label: Label = None,
    seed: Annotated[int, Option(min=0, help="The same seed gives the same samples.")] = 0,
    given: Annotated[
        str | None, Option(metavar="FILE", help="A table of the columns that rows are conditioned on.")
    ] = None,
    zoom: Annotated[int | None, Option(min=1, max=64, help="Width of each pixel of an image.")] = None,
    backend: Backend = None,
):
    """Draw samples of a trained flow, as one picture; of a table, as one more table.

    In several processes, torchrun -m flowkit sample ..., each draws its part.
    """
    use(backend, shares=True)
    import numpy as np

    from flowkit import training
    from flowkit.app.images import stored_levels
    from flowkit.app.trained import given_label, kind_of_flow, loaded
    from flowkit.data.table import read_frame
    from flowkit.flow import TableFlow
    from flowkit.training.pictures import class_places, titled

    folder, flow = loaded(run)
    recipe, rows = folder.recipe(), None
    with together():
        kind = kind_of_flow(flow, run)
        images, wanted = kind.rows == "images", Path(kind.samples).suffix
        if images and flow.dequantize is None:
            raise CommandError(
                f"{run}: got a flow of other values, expected one of stored images or of tables"
            )
        output = output or folder.path / kind.samples
        if output.suffix.lower() != wanted:
            raise CommandError(f"--output: got {output}, expected a name that ends in {wanted}")
        if zoom is not None and not images:
            raise CommandError(f"--zoom: got a flow of tables, {run}, expected a flow of images")
        context = None if label is None else given_label(flow, label, folder)
        known = flow.context_columns if isinstance(flow, TableFlow) else None
        if (known is None) != (given is None):
            expected = (
                "no table" if known is None else f"a table of the columns {', '.join(map(str, known.names))}"
            )
            raise CommandError(f"--given: got {given or 'no table'}, expected {expected}")
        if given is not None:
            refuse_overwriting(output, given)
            rows = read_frame(given, known=[known])[list(known.names)]
    if temperature is None:
        temperature = 1.0 if recipe is None else recipe.sampling.temperature
    elif len(temperature) == 1:
        (temperature,) = temperature
    how = {"temperature": temperature, "seed": seed, "spread": True}
    if isinstance(flow, TableFlow):
        frame = flow.sample(count, rows, **how)
        on_main(lambda: save_frame(output, frame))
    elif not images:
        drawn = np.asarray(flow.sample(count, **how))
        # As text: with as many digits as the numbers differ in.
        on_main(lambda: save_table(output, flow.columns and flow.columns.names, drawn.astype(str)))
    else:
        levels = stored_levels(flow)
        if context is None:
            grid = training.sample_grid(flow, count, classes=flow.num_classes, levels=levels, **how)
        else:
            grid = training.image_grid(flow.sample(count, context, **how)[:, 0], levels=levels)
        picture = training.enlarged(grid, zoom)
        if context is None and flow.num_classes:
            firsts = class_places(count, flow.num_classes)[:, 0]
            picture = titled(picture, [str(label) for label in firsts])
        on_main(lambda: training.save_png(output, picture))
    if flowkit.distributed.is_main():
        print(f"samples {output}")


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
