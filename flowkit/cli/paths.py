"""Where results go, checked before the work that they are the result of."""

import os
from pathlib import Path

import typer


def picture(path: Path | None):
    """The option's PNG file. Raises typer.BadParameter if it cannot become one."""
    return _file(path, (".png",))


def samples(path: Path | None):
    """The option's PNG file, or .csv of a table. Raises typer.BadParameter if it cannot become one."""
    return _file(path, (".png", ".csv"))


def _file(path, suffixes):
    if path is not None:
        if path.is_dir():
            raise typer.BadParameter(f"expected a file, found the folder {path}")
        if path.suffix.lower() not in suffixes:
            raise typer.BadParameter(f"expected a name that ends in {' or '.join(suffixes)}, received {path}")
        folder(path.parent)
    return path


def weights(path: Path):
    """The option's .keras or .npz file. Raises typer.BadParameter if it cannot become one."""
    if path.is_dir():
        raise typer.BadParameter(f"expected a file, found the folder {path}")
    folder(path.parent)
    return path


def folder(path: Path | None):
    """The option's folder, there or not. Raises typer.BadParameter if it could not be made or written to."""
    if path is not None:
        there = next((place for place in (path, *path.absolute().parents) if place.exists()), Path("/"))
        if not there.is_dir():
            raise typer.BadParameter(f"expected a folder, found the file {there}")
        if not os.access(there, os.W_OK | os.X_OK):
            raise typer.BadParameter(f"no permission to write to {there}: choose another place")
    return path
