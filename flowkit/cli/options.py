"""Options and arguments that several commands have, and what reads the text of those with a form of their own."""

from pathlib import Path
from typing import Annotated

import typer

from flowkit._engine import ENGINES
from flowkit.cli import completion, paths

Backend = Annotated[
    str | None,
    typer.Option(
        help=f"The engine: {', '.join(ENGINES)}. Default: KERAS_BACKEND, or the first installed.",
        autocompletion=completion.engines,
    ),
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A folder that `flowkit train` has made, a preset (a name such as glow/fashion-mnist, a folder, or "
        "hf://user/name), or a .keras file.",
        autocompletion=completion.trained,
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="The PNG file to write.", callback=paths.picture)
]
Data = Annotated[
    str | None,
    typer.Option(help="A data set by name, a folder or file of images, or a table.", metavar="SOURCE"),
]


def numbers(text):
    """The numbers of an option such as -1,0,1."""
    try:
        return [float(part) for part in str(text).split(",")]
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas between them, received {text!r}") from None


def shapes(text):
    """The event shapes of an option such as 3;8,8,3."""
    try:
        return [tuple(int(size) for size in part.split(",")) for part in text.split(";")]
    except ValueError:
        raise typer.BadParameter(f"expected event shapes such as '3;8,8,3', received {text!r}") from None
