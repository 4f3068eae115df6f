"""`flowkit` itself: its commands, in the order of its help. Each is a function in a file of its name."""

import importlib
from typing import Annotated

import typer

import flowkit

COMMANDS = (
    *("list", "train", "sample", "play", "evaluate", "score", "impute", "diagnose"),
    *("compare", "interpolate", "manipulate", "export", "convert", "preset", "check", "info"),
)


def command_line(first: str | None) -> typer.Typer:
    """Return the command line; with the command `first` alone if there is one of that name, to import no others."""
    app = typer.Typer(name="flowkit", no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_options)
    for name in [first] if first in COMMANDS else COMMANDS:
        app.command(name)(getattr(importlib.import_module(f"flowkit.app.{name}"), name))
    return app


def _show_version(wanted: bool):
    if wanted:
        print(f"flowkit {flowkit.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
):
    """Normalizing flows: train one from a recipe, sample it, measure it."""
