"""What is asked without training or drawing: `check` of a bijector, `info` of anything by its name."""

from typing import Annotated

import typer

from flowkit.cli import completion
from flowkit.cli.check import run as run_check
from flowkit.cli.engine import use
from flowkit.cli.options import Backend, shapes


def check(
    target: Annotated[
        str, typer.Argument(metavar="MODULE:NAME", help="What makes the bijector, as mypkg.twist:Twist.")
    ],
    backends: Annotated[
        str | None, typer.Option(help="Engines with commas between them. Default: the one in use.")
    ] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="Examples that each clause tries, in place of the profile's.")
    ] = None,
    event_shapes: Annotated[
        str | None,
        typer.Option(
            metavar="3;8,8,3", help="Event shapes, with semicolons between them. Default: tried out."
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="How much is asked: fast, full or thorough.")] = "full",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
):
    """Hold a bijector to its contract: exit code 1 if a promise is broken."""
    return run_check(
        target,
        backends=backends.split(",") if backends else None,
        examples=examples,
        event_shapes=None if event_shapes is None else shapes(event_shapes),
        profile=profile,
        as_json=json_,
    )


def info(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A family such as nsf, a recipe or preset such as glow/digits, the folder of a run or preset, "
            "hf://user/name, or a .keras file.",
            autocompletion=completion.recipes,
        ),
    ] = None,
    cite: Annotated[bool, typer.Option("--cite", help="The paper of NAME as BibTeX, and no more.")] = False,
    backend: Backend = None,
):
    """Versions, engine, devices and precision, for a bug report; of NAME, what is in it and its paper."""
    use(backend)
    from flowkit.cli.info import run as show

    show(name, cite=cite)
