"""`flowkit` itself: its commands, in the order of its help, and the options and arguments that several of them have.

Each command is a function in a file of its name.
"""

import functools
import importlib
import inspect
import warnings
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import flowkit
from flowkit._engine import ENGINES
from flowkit._shipped import preset_folders, recipe_files
from flowkit.app import failure
from flowkit.app.failure import CommandError

COMMANDS = (
    *("list", "train", "sample", "play", "evaluate", "score", "impute", "diagnose"),
    *("compare", "interpolate", "manipulate", "export", "convert", "preset", "check", "info"),
)


def command_line(first: str | None) -> typer.Typer:
    """Return the command line; with the command `first` alone if there is one of that name, to import no others."""
    app = typer.Typer(
        name="flowkit",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in [first] if first in COMMANDS else COMMANDS:
        app.command(name)(_with_quiet(getattr(importlib.import_module(f"flowkit.app.{name}"), name)))
    return app


def _with_quiet(command):
    """Return a command with --quiet, which all commands have."""

    @functools.wraps(command)
    def run(*arguments, quiet=False, **options):
        with warnings.catch_warnings():
            if quiet:
                warnings.simplefilter("ignore")
            failure.quiet = quiet
            try:
                return command(*arguments, **options)
            finally:
                failure.quiet = False

    signature = inspect.signature(command)
    last = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), last])
    run.__annotations__ = {**command.__annotations__, "quiet": Quiet}
    return run


def _show_version(wanted: bool):
    if wanted:
        print(f"flowkit {flowkit.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
):
    """Normalizing flows: train one from a recipe, sample it, measure it."""


def complete(names):
    """Return the completion of an option whose values are in `names()`; a shell completes other words as paths."""
    return lambda incomplete: sorted(name for name in names() if name.startswith(incomplete))


recipe_names = complete(recipe_files)


def new_file(help):
    """Return the option -o for a file to write."""
    return Option("-o", "--output", help=help, dir_okay=False)


def new_folder(help, *names):
    """Return the option -o, or one of the older `names`, for a folder to write."""
    return Option(*names, "-o", "--output", help=help, file_okay=False)


def one_of_both(argument, option, name, expected=None):
    """Return the value of an argument, or of the option --`name` in place of it.

    Raises a CommandError for both, and for neither if one is `expected`.
    """
    if argument is not None and option is not None:
        raise CommandError(f"--{name}: got {argument} and --{name} {option}, expected one of them")
    if argument is None and option is None and expected is not None:
        raise CommandError(f"--{name}: got none, expected {expected}")
    return option if argument is None else argument


def numbers(text):
    """Return the numbers of an option such as -1,0,1; typer refuses other words."""
    return [float(part) for part in str(text).split(",")]


def print_json(content):
    """Print `content` as JSON on standard output, for --json."""
    from flowkit.training.atomic import json_text

    print(json_text(content))


Backend = Annotated[
    str | None,
    Option(
        help=f"One of {', '.join(ENGINES)}. Default: KERAS_BACKEND, or the first installed.",
        autocompletion=complete(lambda: ENGINES),
    ),
]
Run = Annotated[
    str,
    Argument(
        metavar="RUN",
        help="A folder that `flowkit train` has made, a preset (a name such as glow/fashion-mnist, a folder, or "
        "hf://user/name), or a .keras file.",
        autocompletion=complete(preset_folders),
    ),
]
Output = Annotated[Path | None, new_file("The PNG file to write.")]
Json = Annotated[bool, Option("--json", help="Print JSON.")]
Label = Annotated[
    str | None, Option(help="A class of a class-conditional flow, by number from 0 or by name.")
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print results and errors alone.")]
Force = Annotated[bool, Option("--force", help="Replace what was written there before.")]
Seed = Annotated[int, Option(min=0, help="The same seed gives the same draws.")]
Draws = Annotated[int, Option(min=1, help="Draws of noise: more give a tighter bound.")]
_SOURCE = "A data set by name, a folder or file of images, or a table."
Source = Annotated[str | None, Argument(help=_SOURCE, metavar="DATA", show_default=False)]
Data = Annotated[str | None, Option("--data", help=f"{_SOURCE} The same as DATA.", metavar="SOURCE")]
