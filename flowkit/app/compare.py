"""`flowkit compare`: several runs side by side, their curves, their samples and their numbers."""

from pathlib import Path
from typing import Annotated

import numpy as np
from typer import Argument

import flowkit
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Json, new_file, print_json
from flowkit.app.failure import CommandError, printable

# Pictures in a row, and the inches of each: dots and names of a pair plot are lost in a small one.
_ACROSS = {"images": (4, 3.5), "rows": (2, 7.0)}
_LONGEST = 40  # letters of a name that is drawn: its end, since the beginning is often the same


def compare(
    runs: Annotated[list[Path], Argument(metavar="RUN RUN...", help="Folders of runs.")],
    output: Annotated[Path, new_file("The PNG file to write.")] = Path("compare.png"),
    json_: Json = False,
    backend: Backend = None,
):
    """Compare curves, samples and numbers of several runs side by side."""
    use(backend)
    from flowkit.app.experiment import kind_of
    from flowkit.app.run_folder import RunFolder
    from flowkit.presets.card import shown
    from flowkit.training.atomic import atomic_path

    folders = [RunFolder(path) for path in runs]
    kinds = {kind.rows: kind for kind in (kind_of(folder.recipe()) for folder in folders)}
    if len(kinds) > 1:
        raise CommandError("compare: got runs of images and of tables, expected either")
    (kind,) = kinds.values()
    names = [str(folder.path) for folder in folders]
    metrics = [folder.measured() for folder in folders]
    with atomic_path(output) as temporary:
        drawn(folders, names, kind).savefig(temporary, format="png")
    if json_:
        print_json(dict(zip(names, metrics, strict=True)))
        return
    keys = ("data", f"test_{kind.score}", "epochs", "parameters", "seconds")
    others = [found.get("data_sha256") != metrics[0].get("data_sha256") for found in metrics]
    for name, found, other in zip(names, metrics, others, strict=True):
        cells = {**shown(found), "data": Path(found.get("data", "?")).name + " *" * other}
        numbers = ", ".join(f"{key.replace('_', ' ')} {cells.get(key, '?')}" for key in keys)
        print(f"{printable(name)}: {printable(numbers)}")
    if any(others):
        print("* other data than the first run: scores cannot be compared")
    print(f"comparison {output}")


def drawn(folders, names, kind):
    """Return a figure of the runs' curves, and their pictures below."""
    from PIL import Image

    from flowkit.training.pictures import new_figure, plot_curves

    names = [name if len(name) <= _LONGEST else f"...{name[-_LONGEST:]}" for name in names]
    pictures = [
        (name, picture)
        for name, folder in zip(names, folders, strict=True)
        for picture in (folder.samples, folder.pairs)
        if picture.is_file()
    ]
    most, inches = _ACROSS[kind.rows]
    across = min(most, max(1, len(pictures)))
    down = -(-len(pictures) // across)
    figure = new_figure(max(7, inches * across), 4 + (inches + 0.2) * down)
    grid = figure.add_gridspec(1 + down, across, height_ratios=[4, *[inches + 0.2] * down])
    axes = figure.add_subplot(grid[0, :], ylabel=kind.ylabel)
    for name, folder in zip(names, folders, strict=True):
        log = flowkit.training.read_log(folder.log)
        curves = {name: [row.get(kind.logged) for row in log]}
        held_out = [row.get(f"val_{kind.logged}") for row in log]
        if any(value is not None for value in held_out):
            curves[f"{name}, validation"] = held_out
        plot_curves(axes, [row["epoch"] for row in log], curves)
    axes.legend(fontsize=8)
    for number, (title, picture) in enumerate(pictures):
        place = figure.add_subplot(grid[1 + number // across, number % across])
        with Image.open(picture) as image:
            # Made smaller by dropping rows it would lose thin lines; enlarged, its pixels stay squares.
            place.imshow(np.asarray(image.convert("RGB")), interpolation="antialiased")
        place.set_title(title, fontsize=8)
        place.set_axis_off()
    return figure
