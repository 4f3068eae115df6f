"""`flowkit compare`: several runs side by side, their curves, their samples and what they came to."""

import json
import re

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from rich.console import Console
from rich.table import Column, Table

from flowkit import training
from flowkit.cli.failure import CommandError
from flowkit.cli.run_folder import RunFolder
from flowkit.training.atomic import atomic_path

# Of each kind of run: what its log calls the loss, what an axis calls it, its number, and the error of that.
_IMAGES = ("bits_per_dim", "bits/dim", "test_bits_per_dim", "test_standard_error")
_TABLES = ("nll", "-log p(x), nats", "test_log_prob", "test_standard_error")
# Pictures in a row, and the inches of each: dots and names of a pair plot are lost in a small one.
_ACROSS = {_IMAGES: (4, 3.5), _TABLES: (2, 7.0)}
_TO_AN_INCH = 13  # letters of a name at its size: somewhat fewer than fit
_LINE = 0.2  # inches


def run(paths, *, output):
    if len(paths) < 2:
        raise CommandError(f"compare: expected two runs or more, received {len(paths)}")
    folders = [RunFolder(path) for path in paths]
    for folder in folders:
        folder.recipe()  # says what is wrong with what is no run
    metrics = [_metrics(folder) for folder in folders]
    kinds = {_kind(folder, numbers) for folder, numbers in zip(folders, metrics, strict=True)}
    if len(kinds) > 1:
        raise CommandError("compare: expected runs of images, or runs of tables, received both")
    (kind,) = kinds
    names = [str(folder.path) for folder in folders]
    with atomic_path(output) as temporary:
        _drawn(folders, names, kind).savefig(temporary, format="png")
    Console().print(_table(names, metrics, kind))
    print(f"comparison {output}")


def _metrics(folder):
    """A run's numbers; none of one that goes on, or whose file cannot be read."""
    try:
        return json.loads(folder.metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _kind(folder, metrics):
    tables = "test_log_prob" in metrics or (not metrics and folder.recipe().model["name"] != "glow")
    return _TABLES if tables else _IMAGES


def _drawn(folders, names, kind):
    pictures = [
        (name, picture)
        for name, folder in zip(names, folders, strict=True)
        for picture in (folder.samples, folder.pairs)
        if picture.is_file()
    ]
    most, inches = _ACROSS[kind]
    across = min(most, max(1, len(pictures)))
    down = -(-len(pictures) // across)
    titles = [wrapped(name, int(_TO_AN_INCH * inches)) for name, _ in pictures]
    tall = inches + _LINE * max((1 + title.count("\n") for title in titles), default=1)
    figure = Figure(figsize=(max(7, inches * across), 4 + tall * down), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + down, across, height_ratios=[4, *[tall] * down])
    axes = figure.add_subplot(grid[0, :], xlabel="epoch", ylabel=kind[1])
    for name, folder in zip(names, folders, strict=True):
        known = wrapped(name, 4 * _TO_AN_INCH)
        log = training.read_log(folder.log)
        values = [np.nan if row.get(kind[0]) is None else row[kind[0]] for row in log]
        epochs, marker = [row["epoch"] for row in log], "." if len(log) < 30 else None
        (line,) = axes.plot(epochs, values, marker=marker, label=known)
        held_out = [row.get(f"val_{kind[0]}") for row in log]
        if any(value is not None for value in held_out):
            held_out = [np.nan if value is None else value for value in held_out]
            axes.plot(
                epochs,
                held_out,
                marker=marker,
                linestyle="--",
                color=line.get_color(),
                label=f"{known}, validation",
            )
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


def wrapped(name: str, letters: int) -> str:
    """A name in lines of at most so many letters, cut after /, -, _, a dot or a blank if one is there.

    >>> print(wrapped("runs/glow-of-digits-by-a-small-rate/seed0123456789", 16))
    runs/glow-of-
    digits-by-a-
    small-rate/
    seed0123456789
    >>> print(wrapped("seed0123456789", 10))
    seed012345
    6789
    """
    lines = [""]
    for piece in re.findall(r"[^-/_. ]*[-/_. ]?", name):
        if len(lines[-1]) + len(piece) > letters:
            lines.append("")
        for start in range(0, len(piece), letters):  # one, unless the piece alone is too long
            if start:
                lines.append("")
            lines[-1] += piece[start : start + letters]
    return "\n".join(filter(None, lines))


def _table(names, metrics, kind):
    table = Table(
        Column("run", overflow="fold"),  # whose end tells runs apart
        f"test {'bits/dim' if kind is _IMAGES else 'log p(x), nats'}",
        "epochs",
        "parameters",
        "minutes",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, found in zip(names, metrics, strict=True):
        value, error = (found.get(key) for key in kind[2:])
        told = "not there yet" if value is None else f"{value:.4f}" + (f" +- {error:.4f}" if error else "")
        seconds = found.get("seconds")
        table.add_row(
            name,
            told,
            str(found.get("epochs", "?")),
            f"{found['parameters']:,}" if "parameters" in found else "?",
            "?" if seconds is None else f"{seconds / 60:.1f}",
        )
    return table
