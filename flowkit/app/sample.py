"""`flowkit sample`: images that a flow has learned, as one picture or each alone; for a table, more rows of it."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Option

import flowkit
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Label, Run, Seed, numbers
from flowkit.app.failure import CommandError, on_main, together
from flowkit.app.write import TABLES, cells_for, check_output, write_arrays, write_table
from flowkit.app.wrong_rows import Strict, right_rows


def sample(
    run: Run,
    count: Annotated[int, Option("-n", "--count", min=1, help="Images, or rows of a table.")] = 64,
    temperature: Annotated[
        Any,
        Option(parser=numbers, metavar="T", help="Spread of latents, or by level. Default: the recipe's."),
    ] = None,
    output: Annotated[
        Path | None,
        Option(
            "-o",
            "--output",
            help="Of a table a .csv, .tsv, .parquet or .npz file. Of images one picture, a .png; all of them, an .npz; "
            "or a folder, for a .png of each, in a folder of its class.",
        ),
    ] = None,
    label: Label = None,
    seed: Seed = 0,
    given: Annotated[str | None, Option(metavar="FILE", help="A table of the given columns.")] = None,
    where: Annotated[
        list[str] | None,
        Option(metavar="COLUMN=ENTRY", help="Of a table: draw rows with this entry. May be repeated."),
    ] = None,
    zoom: Annotated[int | None, Option(min=1, max=64, help="Width of each pixel of a picture.")] = None,
    strict: Strict = False,
    backend: Backend = None,
):
    """Draw samples of a trained flow, as one picture; of a table, as one more table.

    In several processes, torchrun -m flowkit sample ..., each draws its part.
    """
    use(backend, shares=True)
    from flowkit.app.trained import given_label, kind_of_flow, loaded

    folder, flow = loaded(run)
    recipe = folder.recipe()
    with together():
        kind = kind_of_flow(flow, run)
        images, output = kind.rows == "images", output or folder.path / kind.samples
        _check(run, flow, images, output, zoom, given)
        rows = None if given is None else _given_rows(flow, given, output, strict)
        fixed = _fixed(flow, where or [], temperature)
        context = None if label is None else given_label(flow, label, folder)
    spread = temperature[0] if temperature and len(temperature) == 1 else temperature
    if spread is None:
        spread = 1.0 if recipe is None else recipe.sampling.temperature
    how = {"seed": seed, "where": fixed} if fixed else {"temperature": spread, "seed": seed, "spread": True}
    if images:
        save = _drawn_images(flow, count, context, output, zoom, how)
    else:
        save = _drawn_rows(flow, count, rows, output, how, folder.about.get("written", {}))
    on_main(save)
    if flowkit.distributed.is_main():
        print(f"samples {output}")


def _check(run, flow, images, output, zoom, given):
    """Raise a CommandError for a flow without samples to save, and for options that do not fit it."""
    if images and flow.dequantize is None:
        raise CommandError(f"{run}: got a flow of other values, expected one of stored images or of tables")
    check_output(output, (".png", ".npz", "") if images else TABLES, given)
    if images and not output.suffix and output.is_dir() and any(output.iterdir()):
        raise CommandError(f"--output: got {output}, a folder with files in it, expected a new one")
    if zoom is not None and not images:
        raise CommandError(f"--zoom: got a flow of tables, {run}, expected a flow of images")
    if zoom is not None and output.suffix.lower() == ".npz":
        raise CommandError(f"--zoom: got {output}, expected pictures, a .png or a folder")
    known = getattr(flow, "context_columns", None)
    if (known is None) != (given is None):
        expected = (
            "no table" if known is None else f"a table of the columns {', '.join(map(str, known.names))}"
        )
        raise CommandError(f"--given: got {given or 'no table'}, expected {expected}")


def _fixed(flow, words, temperature):
    """Return {column: entry} of --where; raise a CommandError for a flow, a column or an entry that does not fit."""
    from flowkit.app.trained import require_types
    from flowkit.data.category import Category
    from flowkit.tables.fixed_entries import fixed_codes

    if words:
        require_types(flow, "--where")
    if words and temperature is not None:
        raise CommandError("--temperature: got one with --where, expected none beside fixed entries")
    found = {}
    for word in words:
        name, equals, entry = word.partition("=")
        if not equals:
            raise CommandError(f"--where: got {word!r}, expected COLUMN=ENTRY, such as segment=premium")
        kinds = dict(zip(flow.columns.names, flow.columns.types, strict=True))
        values = getattr(kinds.get(name), "values", ()) if isinstance(kinds.get(name), Category) else ()
        entry = entry.title() if bool in map(type, values) else entry  # true and TRUE are True
        found[name] = {str(value): value for value in values}.get(entry, entry)
    try:
        if found:
            fixed_codes(flow, found)
    except ValueError as error:
        raise CommandError(f"--{error}") from error
    return found


def _given_rows(flow, path, output, strict):
    """Return (right rows of the table of --given, the same as they are written to `output`, the table's delimiter)."""
    from flowkit.data.table import read_table

    known = flow.context_columns
    file, names = read_table(path, [known]), list(known.names)
    frame = file.frame[[name for name in file.frame.columns if name in names]]
    rows = right_rows(known.coded(frame)[1], len(frame), path, strict).tolist()
    return file.rows(rows, names), cells_for(file, output)[rows][names], file.delimiter


def _drawn_rows(flow, count, given, output, how, written):
    """Draw rows; return a function that writes them, as text in the form of the file that the flow was trained on.

    `written` has the delimiter and the formats of that file, as metrics.json stores them.
    """
    import polars

    from flowkit.data.cells import CellFormat

    frame, cells, delimiter = given or (None, None, written.get("delimiter"))
    if flow.columns is not None:
        names = tuple(map(str, flow.columns.names))
        flow.columns = replace(flow.columns, names=names, library="polars")
    drawn = flow.sample(count, frame, **how)
    named = flow.columns is not None
    table = drawn if named else polars.DataFrame(np.asarray(drawn))
    if output.suffix.lower() in (".csv", ".tsv"):
        for name, stored in written.get("cells", {}).items():
            if name in table.columns:
                form = CellFormat.from_dict(stored)
                table = table.with_columns(polars.Series(name, map(form.write, table[name]), polars.String))
    if given is not None:
        table = table.with_columns(list(polars.concat([cells] * count)))
    return lambda: write_table(output, table, delimiter, named)


def _drawn_images(flow, count, context, output, zoom, how):
    """Draw images; return a function that writes them, as one picture unless `output` is an .npz file or a folder."""
    from flowkit import training
    from flowkit.app.images import stored_levels
    from flowkit.training.pictures import class_places, titled

    levels, classes = stored_levels(flow), flow.num_classes if context is None else None
    if output.suffix.lower() == ".png":
        if context is None:
            grid = training.sample_grid(flow, count, classes=classes, levels=levels, **how)
        else:
            grid = training.image_grid(flow.sample(count, context, **how)[:, 0], levels=levels)
        picture = training.enlarged(grid, zoom)
        if classes:
            picture = titled(picture, [str(label) for label in class_places(count, classes)[:, 0]])
        return lambda: training.save_png(output, picture)
    if classes:
        labels = np.arange(count) * classes // count
        images = flow.sample(1, labels, **how)[0]
    else:
        images = flow.sample(count, context, **how)
        images = images if context is None else images[:, 0]
        labels = None if context is None else np.repeat(context, count)
    if output.suffix:
        return lambda: write_arrays(
            output, {"images": images} | ({} if labels is None else {"labels": labels})
        )
    return lambda: _save_folder(output, images, labels, levels, zoom)


def _save_folder(folder, images, labels, levels, zoom):
    """Write each image as a .png file, in a folder of its class if it has one."""
    from flowkit import training

    for place, image in enumerate(images):
        part = folder if labels is None else folder / str(labels[place])
        picture = training.image_grid(image[None], levels=levels)
        training.save_png(part / f"{place:05}.png", training.enlarged(picture, zoom or 1))
