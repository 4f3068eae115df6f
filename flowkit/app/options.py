"""Options and arguments that several commands have; results' paths are checked before the work begins."""

import os
from pathlib import Path
from typing import Annotated

import typer

from flowkit._engine import ENGINES
from flowkit._shipped import preset_folders, recipe_files


def complete(names):
    """Return the completion of an option whose values are in `names()`; a shell completes other words as paths."""
    return lambda incomplete: sorted(name for name in names() if name.startswith(incomplete))


recipe_names = complete(recipe_files)


def new_file(*suffixes: str):
    """Return the callback of an option for a file to write; raises typer.BadParameter if it cannot be written."""

    def check(path: Path | None):
        if path is not None:
            if path.is_dir():
                raise typer.BadParameter(f"expected a file, found the folder {path}")
            if suffixes and path.suffix.lower() not in suffixes:
                raise typer.BadParameter(
                    f"expected a name that ends in {' or '.join(suffixes)}, received {path}"
                )
            new_folder(path.parent)
        return path

    return check


def new_folder(path: Path | None):
    """Return the path of an option for a folder; raises typer.BadParameter if it cannot be made or written to."""
    if path is not None:
        there = next((place for place in (path, *path.absolute().parents) if place.exists()), Path("/"))
        if not there.is_dir():
            raise typer.BadParameter(f"expected a folder, found the file {there}")
        if not os.access(there, os.W_OK | os.X_OK):
            raise typer.BadParameter(f"no permission to write to {there}: choose another place")
    return path


def numbers(text):
    """Return the numbers of an option such as -1,0,1."""
    try:
        return [float(part) for part in str(text).split(",")]
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas between them, received {text!r}") from None


Backend = Annotated[
    str | None,
    typer.Option(
        help=f"The engine: {', '.join(ENGINES)}. Default: KERAS_BACKEND, or the first installed.",
        autocompletion=complete(lambda: ENGINES),
    ),
]
Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A folder that `flowkit train` has made, a preset (a name such as glow/fashion-mnist, a folder, or "
        "hf://user/name), or a .keras file.",
        autocompletion=complete(preset_folders),
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="The PNG file to write.", callback=new_file(".png"))
]
Data = Annotated[
    str | None,
    typer.Option(help="A data set by name, a folder or file of images, or a table.", metavar="SOURCE"),
]
