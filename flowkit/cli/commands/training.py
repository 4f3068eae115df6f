"""`flowkit train`: what a run is told beyond its recipe."""

from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli import completion, paths
from flowkit.cli.engine import use
from flowkit.cli.options import Backend, Data


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe file, or one of flowkit's: glow/fashion-mnist, glow/emoji32 for small images in colour, "
            "nsf/magic for tables, and others.",
            autocompletion=completion.recipes,
        ),
    ],
    data: Data = None,
    backend: Backend = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs in all, in place of the recipe's.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the networks: float32, or mixed_bfloat16 in place of the recipe's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder to write. Default: runs/ and the recipe's name.", callback=paths.folder
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Workers whose batches make one step: the recipe states that of one.")
    ] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any value of the recipe, as model.steps=8; recipe.toml in a run has all.",
        ),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Numbers and pictures of each epoch for tensorboard, wandb, mlflow or csv, too.",
        ),
    ] = None,
):
    """Train a flow from a recipe, evaluate it on the test split, and draw samples.

    In several processes: torchrun --nproc-per-node 8 -m flowkit train ...
    """
    use(backend, trains=True)
    from flowkit.cli.train import run

    run(
        recipe,
        source=data,
        epochs=epochs,
        precision=precision,
        workers=workers,
        out=out,
        resume=resume,
        settings=set_ or [],
        logs=log or [],
    )
