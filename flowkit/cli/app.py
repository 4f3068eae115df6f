"""`flowkit` itself: its commands, in the order in which its help lists them."""

from typing import Annotated

import typer

import flowkit
from flowkit.cli.commands.files import convert, preset
from flowkit.cli.commands.pictures import interpolate, manipulate, play, sample
from flowkit.cli.commands.quality import compare, diagnose, evaluate
from flowkit.cli.commands.questions import check, info
from flowkit.cli.commands.training import train

app = typer.Typer(
    name="flowkit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def show_version(wanted: bool):
    if wanted:
        print(f"flowkit {flowkit.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
):
    """Normalizing flows: train one from a recipe, sample it, measure it."""


for command in (
    train,
    sample,
    evaluate,
    diagnose,
    compare,
    interpolate,
    manipulate,
    play,
    convert,
    preset,
    check,
    info,
):
    app.command()(command)
