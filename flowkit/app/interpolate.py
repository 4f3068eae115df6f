"""`flowkit interpolate`: from one image to another through the space of latents."""

from pathlib import Path
from typing import Annotated

import numpy as np
from typer import Argument, Option

import flowkit
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Label, Output, Run
from flowkit.app.failure import CommandError


def interpolate(
    run: Run,
    first: Annotated[Path, Argument(metavar="A.PNG", exists=True, dir_okay=False)],
    second: Annotated[Path, Argument(metavar="B.PNG", exists=True, dir_okay=False)],
    output: Output = None,
    steps: Annotated[int, Option(min=2, help="Images in the strip, both ends included.")] = 9,
    path: Annotated[str, Option(help="linear or spherical.")] = "linear",
    label: Label = None,
    backend: Backend = None,
):
    """Draw the way between two images in the space of latents, as one picture."""
    use(backend)
    from flowkit.app.trained import given_label, loaded

    folder, flow = loaded(run)
    context = given_label(flow, label, folder)
    x0, x1 = (read_images([name], flow) for name in (first, second))
    output = output or folder.path / "strip.png"
    save_strip(output, flowkit.latent.interpolate(flow, x0, x1, steps, context=context, path=path), flow)
    print(f"interpolation {output}")


def read_images(paths, flow):
    """Return the files as (n, height, width, channels) of the flow's images, whole values 0..levels-1."""
    from flowkit.app.images import stored_levels
    from flowkit.data.image_file import read_image

    if len(flow.event_shape or ()) != 3:
        raise CommandError("the flow: got one of tables, expected one of images")
    height, width, channels = flow.event_shape
    pixels = np.stack([read_image(path, (height, width), channels) for path in paths])
    return np.round(pixels.astype("float64") * (stored_levels(flow) - 1) / 255).astype("uint8")


def save_strip(path, images, flow):
    """Save `images` (positions, n, height, width, channels) as a picture, one row for each of the n, enlarged."""
    from flowkit.app.images import stored_levels

    rows = np.swapaxes(images, 0, 1).reshape(-1, *images.shape[2:])
    grid = flowkit.training.image_grid(rows, columns=len(images), levels=stored_levels(flow))
    flowkit.training.save_png(path, flowkit.training.enlarged(grid))
