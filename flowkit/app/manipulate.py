"""`flowkit manipulate`: images moved from one class of the data towards another."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Argument, Option

import flowkit
from flowkit.app.backend import use
from flowkit.app.commands import Backend, Data, Output, Run, numbers
from flowkit.app.failure import CommandError
from flowkit.app.interpolate import read_images, save_strip


def manipulate(
    run: Run,
    images: Annotated[list[Path], Argument(metavar="IMAGE...", exists=True, dir_okay=False)],
    from_class: Annotated[str, Option(help="A class of the data, by number or name.")],
    to_class: Annotated[str, Option(help="The class to move the images towards.")],
    amounts: Annotated[
        Any, Option(parser=numbers, metavar="A,B,...", help="How far: 0 is the image itself.")
    ] = "0,0.5,1,1.5",
    output: Output = None,
    limit: Annotated[int, Option(min=1, help="Images of each class to learn the direction from.")] = 500,
    data: Data = None,
    backend: Backend = None,
):
    """Move images from one class towards another, a row for each, a column for each amount."""
    use(backend)
    from flowkit.app.images import Images
    from flowkit.app.trained import class_number, classes_of, data_of, loaded

    folder, flow = loaded(run)
    if classes_of(flow) is not None:
        raise CommandError(
            "the flow is class-conditional, so its latents do not hold the class. Train one without: flowkit train "
            "RECIPE --set model.num_classes=none"
        )
    moved = read_images(images, flow)
    dataset = data_of(folder, flow, "train", data)
    x, _ = Images().given(flow, dataset)
    start = class_number(dataset, from_class, "--from-class")
    goal = class_number(dataset, to_class, "--to-class")
    rows = np.concatenate([np.flatnonzero(dataset.labels == label)[:limit] for label in (start, goal)])
    direction = flowkit.latent.attribute_direction(flow, x[rows], dataset.labels[rows] == goal)
    output = output or folder.path / "manipulated.png"
    save_strip(output, flowkit.latent.manipulate(flow, moved, direction, amounts), flow)
    print(f"manipulation {output}  (direction of {len(rows)} images of {dataset.name})")
