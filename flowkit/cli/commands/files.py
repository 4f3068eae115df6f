"""Flows as files for others: `convert` and `preset`."""

from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli import paths
from flowkit.cli.engine import use
from flowkit.cli.options import Backend


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="flow.keras or a RUN; or foreign weights: an .npz, a TensorFlow checkpoint, a .pt."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="A .keras file for foreign weights, an .npz for a flow.",
            callback=paths.weights,
        ),
    ],
    n_bits: Annotated[
        int | None,
        typer.Option(min=1, max=8, help="Bits of the images that foreign weights were trained on."),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(metavar="H,W,C", help="The images' size. Default: that of the first data."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.NPZ",
            exists=True,
            dir_okay=False,
            help="rows (channels last, in [-0.5, 0.5]) and the original's log_prob of them, to compare with.",
        ),
    ] = None,
    backend: Backend = None,
):
    """Turn weights of other implementations into a flow, or a flow into those of Glow's published code."""
    use(backend)
    from flowkit.cli.convert import run

    run(source, output=output, n_bits=n_bits, input_shape=input_shape, check=check)


def preset(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that has come to its end.")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The preset, a new folder.", callback=paths.folder)
    ],
    license_: Annotated[
        str | None, typer.Option("--license", help="Under which the weights may be used, such as apache-2.0.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What the README says first.")] = None,
    backend: Backend = None,
):
    """Make a preset of a run: a folder with flow, recipe, numbers and a model card, to be shared."""
    use(backend)
    from flowkit.cli.preset import run as make

    make(run, folder, license=license_, description=description)
