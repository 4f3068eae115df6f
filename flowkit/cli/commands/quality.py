"""How good flows are: `evaluate` in a number, `diagnose` in a folder, `compare` in a picture."""

from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli import paths
from flowkit.cli.engine import use
from flowkit.cli.options import Backend, Data, Run


def evaluate(
    run: Run,
    data: Data = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Draws of dequantisation noise: more give a tighter bound.")
    ] = 1,
    levels: Annotated[
        bool, typer.Option("--levels", help="Also what each level of the flow carries, as a table.")
    ] = False,
    backend: Backend = None,
):
    """Bits per dimension on the test split, with the standard error over images; of a table, nats.

    In several processes, torchrun -m flowkit evaluate ..., each scores its part.
    """
    use(backend, shares=True)
    from flowkit.cli.evaluate import run as measure

    measure(run, source=data, samples=samples, levels=levels)


def diagnose(
    run: Run,
    data: Data = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The folder to write. Default: diagnostics, in that of the run.",
            callback=paths.folder,
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=2, help="At most so many test images, or rows of a table.")] = 1000,
    samples: Annotated[int, typer.Option(min=100, help="How many samples are drawn to compare with.")] = 1000,
    outside: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Data of another kind, that should be told apart.")
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="A flow of more general data, which its likelihood is compared with."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same numbers.")] = 0,
    backend: Backend = None,
):
    """Whether a flow is any good: latents, coverage, round trips, memorisation, other data."""
    use(backend)
    from flowkit.cli.diagnose import run as look

    look(
        run,
        source=data,
        output=output,
        rows=rows,
        samples=samples,
        outside=outside,
        background=background,
        seed=seed,
    )


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Folders that `flowkit train` has made.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The PNG file to write.", callback=paths.picture)
    ] = Path("compare.png"),
    backend: Backend = None,
):
    """Curves, samples and numbers of several runs side by side."""
    use(backend)
    from flowkit.cli.compare import run as draw

    draw(runs, output=output)
