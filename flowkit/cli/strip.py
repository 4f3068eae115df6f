"""Image files in, as a flow takes them; a strip of images out."""

import numpy as np

from flowkit.cli.failure import CommandError, say
from flowkit.data.image_file import read_image
from flowkit.training import enlarged, image_grid, save_png


def read_images(paths, flow):
    """The files as (n, height, width, channels) of the flow's images, whole values 0..levels-1."""
    if len(flow.event_shape) != 3:
        raise CommandError("the flow is one of tables: expected one of images")
    height, width, channels = flow.event_shape
    if channels not in (1, 3):
        raise CommandError(f"the flow's images have {channels} channels: expected 1 or 3")
    pixels = np.stack([_read(path, (height, width), channels) for path in paths])
    levels = flow.dequantize.stored_levels
    return np.round(pixels.astype("float64") * (levels - 1) / 255).astype("uint8")


def _read(path, size, channels):
    pixels = read_image(path, channels=channels)
    if pixels.shape[:2] == size:
        return pixels
    height, width = pixels.shape[:2]
    say(
        f"note: {path} is {width} wide and {height} high: cropped or resized to the flow's {size[1]} and {size[0]}"
    )
    return read_image(path, size, channels)


def save_strip(path, images, flow):
    """A picture of `images` (positions, n, height, width, channels), one row for each of the n, enlarged."""
    rows = np.swapaxes(images, 0, 1)
    grid = image_grid(
        rows.reshape(-1, *rows.shape[2:]), columns=len(images), levels=flow.dequantize.stored_levels
    )
    save_png(path, enlarged(grid))
