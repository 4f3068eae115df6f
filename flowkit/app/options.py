"""Options and arguments that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from flowkit._engine import ENGINES
from flowkit._shipped import preset_folders, recipe_files


def complete(names):
    """Return the completion of an option whose values are in `names()`; a shell completes other words as paths."""
    return lambda incomplete: sorted(name for name in names() if name.startswith(incomplete))


recipe_names = complete(recipe_files)


def new_file(help, *suffixes: str):
    """Return the option -o for a file to write; its callback refuses other suffixes."""

    def check(path: Path | None):
        if path is not None and path.suffix.lower() not in suffixes:
            raise typer.BadParameter(f"expected a name that ends in {' or '.join(suffixes)}, received {path}")
        return path

    return typer.Option("-o", "--output", help=help, dir_okay=False, callback=check)


def numbers(text):
    """Return the numbers of an option such as -1,0,1."""
    try:
        return [float(part) for part in str(text).split(",")]
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas between them, received {text!r}") from None


Backend = Annotated[
    str | None,
    typer.Option(
        help=f"One of {', '.join(ENGINES)}. Default: KERAS_BACKEND, or the first installed.",
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
Output = Annotated[Path | None, new_file("The PNG file to write.", ".png")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Label = Annotated[int | None, typer.Option(help="A class, from 0, of a class-conditional flow.")]
Data = Annotated[
    str | None,
    typer.Option(help="A data set by name, a folder or file of images, or a table.", metavar="SOURCE"),
]
