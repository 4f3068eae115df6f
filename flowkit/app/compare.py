"""`flowkit compare`: several runs side by side, their curves, their samples and their numbers."""

import textwrap
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import flowkit
from flowkit.app.backend import use
from flowkit.app.failure import CommandError, printable
from flowkit.app.options import Backend, Json, new_file

# Pictures in a row, and the inches of each: dots and names of a pair plot are lost in a small one.
_ACROSS = {"images": (4, 3.5), "rows": (2, 7.0)}
_TO_AN_INCH = 13  # letters of a name at its size: somewhat fewer than fit
_LINE = 0.2  # inches


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Folders that `flowkit train` has made.")
    ],
    output: Annotated[Path, new_file("The PNG file to write.", ".png")] = Path("compare.png"),
    json_: Json = False,
    backend: Backend = None,
):
    """Compare curves, samples and numbers of several runs side by side."""
    use(backend)
    from rich.console import Console

    from flowkit.app.experiment import kind_of
    from flowkit.app.run_folder import RunFolder
    from flowkit.training.atomic import atomic_path, json_text

    if len(runs) < 2:
        raise CommandError(f"compare: expected two runs or more, received {len(runs)}")
    folders = [RunFolder(path) for path in runs]
    kinds = {kind.rows: kind for kind in (kind_of(folder.recipe()) for folder in folders)}
    if len(kinds) > 1:
        raise CommandError("compare: expected runs of images, or runs of tables, received both")
    (kind,) = kinds.values()
    names = [str(folder.path) for folder in folders]
    metrics = [folder.measured() for folder in folders]
    with atomic_path(output) as temporary:
        drawn(folders, names, kind).savefig(temporary, format="png")
    if json_:
        print(json_text(dict(zip(names, metrics, strict=True))))
    else:
        Console().print(_table(names, metrics, kind))
        print(f"comparison {output}")


def drawn(folders, names, kind):
    """Return a figure of the runs' curves, and their pictures below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from PIL import Image

    pictures = [
        (name, picture)
        for name, folder in zip(names, folders, strict=True)
        for picture in (folder.samples, folder.pairs)
        if picture.is_file()
    ]
    most, inches = _ACROSS[kind.rows]
    across = min(most, max(1, len(pictures)))
    down = -(-len(pictures) // across)
    titles = [textwrap.fill(name, int(_TO_AN_INCH * inches)) for name, _ in pictures]
    tall = inches + _LINE * max((1 + title.count("\n") for title in titles), default=1)
    figure = Figure(figsize=(max(7, inches * across), 4 + tall * down), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + down, across, height_ratios=[4, *[tall] * down])
    axes = figure.add_subplot(grid[0, :], xlabel="epoch", ylabel=kind.ylabel)
    for name, folder in zip(names, folders, strict=True):
        label, log = textwrap.fill(name, 4 * _TO_AN_INCH), flowkit.training.read_log(folder.log)
        epochs, look = [row["epoch"] for row in log], {"marker": "." if len(log) < 30 else None}
        for key, suffix in ((kind.logged, ""), (f"val_{kind.logged}", ", validation")):
            values = [np.nan if row.get(key) is None else row[key] for row in log]
            if not suffix or not np.isnan(values).all():
                (line,) = axes.plot(epochs, values, label=label + suffix, **look)
                look |= {"linestyle": "--", "color": line.get_color()}
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    for number, (title, (_, picture)) in enumerate(zip(titles, pictures, strict=True)):
        place = figure.add_subplot(grid[1 + number // across, number % across])
        with Image.open(picture) as image:
            # Made smaller by dropping rows it would lose thin lines; enlarged, its pixels stay squares.
            place.imshow(np.asarray(image.convert("RGB")), interpolation="antialiased")
        place.set_title(title, fontsize=8)
        place.set_axis_off()
    return figure


def _table(names, metrics, kind):
    from rich.markup import escape
    from rich.table import Column, Table

    from flowkit.presets.card import shown

    keys = ("data", f"test_{kind.score}", "epochs", "parameters", "seconds")
    columns = (Column(key.replace("_", " "), justify="right") for key in keys)
    table = Table(Column("run", overflow="fold"), *columns)  # whose end tells runs apart
    sums = [found.get("data_sha256") for found in metrics]
    for name, found, data in zip(names, map(shown, metrics), sums, strict=True):
        mark = "" if data == sums[0] else " *"
        cells = {**found, "data": Path(found.get("data", "?")).name + mark}
        table.add_row(*(escape(printable(text)) for text in (name, *(cells.get(key, "?") for key in keys))))
    if len(set(sums)) > 1:
        table.caption = "* other data than the first run: scores cannot be compared"
    return table
