"""`flowkit check`: hold a bijector to its contract."""

from typing import Annotated

import typer

from flowkit.app.engine import use


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
    use(None)
    from flowkit.testing.running.command import check_command

    return check_command(
        target,
        backends=backends.split(",") if backends else None,
        examples=examples,
        event_shapes=None if event_shapes is None else _shapes(event_shapes),
        profile=profile,
        as_json=json_,
    )


def _shapes(text):
    """Return the event shapes of an option such as 3;8,8,3."""
    try:
        return [tuple(int(size) for size in part.split(",")) for part in text.split(";")]
    except ValueError:
        raise typer.BadParameter(f"expected event shapes such as '3;8,8,3', received {text!r}") from None
