"""`flowkit` itself: its commands, in the order in which its help lists them."""

from typing import Annotated

import typer

import flowkit
from flowkit.app.check import check
from flowkit.app.compare import compare
from flowkit.app.convert import convert
from flowkit.app.diagnose import diagnose
from flowkit.app.evaluate import evaluate
from flowkit.app.info import info
from flowkit.app.interpolate import interpolate
from flowkit.app.manipulate import manipulate
from flowkit.app.play import play
from flowkit.app.preset import preset
from flowkit.app.sample import sample
from flowkit.app.train import train

_COMMANDS = (
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
)

app = typer.Typer(name="flowkit", no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(wanted: bool):
    if wanted:
        print(f"flowkit {flowkit.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
):
    """Normalizing flows: train one from a recipe, sample it, measure it."""


for command in _COMMANDS:
    app.command()(command)
