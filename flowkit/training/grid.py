"""Images as one picture that a notebook shows."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from flowkit.contract.arguments import whole_number
from flowkit.training.pictures import image_grid, save_png


class ImageGrid:
    """`image_grid(images)`, which a notebook shows if it is the last thing in a cell; `save(path)` writes it.

    Arguments and errors are those of `image_grid`; `zoom` makes each pixel a square of so many, None as many as bring
    an image to about 64 of them.

    >>> import numpy as np
    >>> ImageGrid(np.zeros((6, 28, 28, 1), "uint8"))
    ImageGrid(6 images of 28x28x1)
    """

    def __init__(
        self,
        images: Any,
        columns: int | None = None,
        padding: int = 2,
        levels: int = 256,
        *,
        zoom: int | None = None,
    ) -> None:
        self.pixels = image_grid(images, columns, padding, levels)
        self._shape = tuple(images.shape)
        default = max(1, round(64 / self._shape[1]))
        self.zoom = default if zoom is None else whole_number(zoom, "zoom", least=1)

    def save(self, path: str | Path) -> None:
        """Write the grid, pixel by pixel, as a PNG file."""
        save_png(path, self.pixels)

    def __repr__(self):
        return f"ImageGrid({self._shape[0]} images of {'x'.join(map(str, self._shape[1:]))})"

    def _repr_png_(self):
        height, width = self.pixels.shape[:2]
        size = (width * self.zoom, height * self.zoom)
        file = io.BytesIO()
        Image.fromarray(self.pixels).resize(size, Image.Resampling.NEAREST).save(file, format="PNG")
        return file.getvalue()
