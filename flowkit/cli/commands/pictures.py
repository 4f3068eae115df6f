"""What is drawn of one flow: `sample`, `interpolate`, `manipulate`, and `play`, whose pictures move."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flowkit.cli import paths
from flowkit.cli.engine import use
from flowkit.cli.options import Backend, Data, Output, Run, numbers


def sample(
    run: Run,
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, help="How many images, or rows of a table.")
    ] = 64,
    temperature: Annotated[
        Any,
        typer.Option(
            parser=numbers,
            metavar="T",
            help="Spread of the latents, or one for each level as 0.7,1. Default: the recipe's.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="The PNG file to write; of a table, a .csv file.", callback=paths.samples
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same samples.")] = 0,
    zoom: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Each pixel of an image becomes a square of so many. Default: as many as bring the picture to 512.",
        ),
    ] = None,
    backend: Backend = None,
):
    """Draw samples of a trained flow, as one picture; of a table, as one more table.

    In several processes, torchrun -m flowkit sample ..., each draws its part.
    """
    use(backend, shares=True)
    from flowkit.cli.sample import run as draw

    draw(run, count=count, temperature=temperature, output=output, seed=seed, zoom=zoom)


def interpolate(
    run: Run,
    first: Annotated[Path, typer.Argument(metavar="A.PNG", exists=True, dir_okay=False)],
    second: Annotated[Path, typer.Argument(metavar="B.PNG", exists=True, dir_okay=False)],
    output: Output = None,
    steps: Annotated[int, typer.Option(min=2, help="Images in the strip, both ends included.")] = 9,
    path: Annotated[str, typer.Option(help="linear or spherical.")] = "linear",
    label: Annotated[int | None, typer.Option(help="The class, for a class-conditional flow.")] = None,
    backend: Backend = None,
):
    """The way between two images in the space of latents, as one picture."""
    use(backend)
    from flowkit.cli.interpolate import run as draw

    draw(run, first, second, output=output, steps=steps, path=path, label=label)


def manipulate(
    run: Run,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False)],
    from_class: Annotated[str, typer.Option(help="A class of the data, by number or name.")],
    to_class: Annotated[str, typer.Option(help="The class to move the images towards.")],
    amounts: Annotated[
        Any, typer.Option(parser=numbers, metavar="A,B,...", help="How far: 0 is the image itself.")
    ] = "0,0.5,1,1.5",
    output: Output = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Images of each class that the direction is learned from.")
    ] = 500,
    data: Data = None,
    backend: Backend = None,
):
    """Images moved from one class towards another, a row for each, a column for each amount."""
    use(backend)
    from flowkit.cli.manipulate import run as draw

    draw(
        run,
        images,
        from_class=from_class,
        to_class=to_class,
        amounts=amounts,
        output=output,
        limit=limit,
        source=data,
    )


def play(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder to write, for any server. Default: serve it at once.",
            callback=paths.folder,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to serve it; 0 takes a free one.")
    ] = 8000,
    ort: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="npm's onnxruntime-web/dist. Default: downloaded once.",
        ),
    ] = None,
    data: Data = None,
    backend: Backend = None,
):
    """A page on which the flow runs in the browser: mix images, move latents, read log p."""
    use(backend)
    from flowkit.cli.play import run as show

    show(run, out=out, port=port, ort=ort, source=data)
