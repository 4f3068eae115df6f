"""What a run looks like: grids of samples and loss curves, as PNG files that are always whole."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from flowkit import distributed
from flowkit.contract.arguments import whole_number, whole_or_none
from flowkit.contract.one_line import one_line
from flowkit.training.atomic import atomic_path
from flowkit.training.averaging import averaged_weights

_LONG_SIDE = 512  # pixels: of a picture that is shown one to one, and of small images would be a thumbnail


def check_look(classes, temperature, levels):
    """Raise ValueError for what no picture of samples could be made of."""
    whole_or_none(classes, "classes", least=1)
    whole_number(levels, "levels", least=2)
    try:
        with np.errstate(over="ignore"):
            spread = np.asarray(np.nan if isinstance(temperature, bool) else temperature, "float32")
    except (TypeError, ValueError):
        spread = np.asarray(np.nan)
    if not (spread.size and np.isfinite(spread).all() and (spread >= 0).all()):
        raise ValueError(f"temperature: expected a number from 0 up, received {temperature!r}.")


def image_grid(images: Any, columns: int | None = None, padding: int = 2, levels: int = 256) -> np.ndarray:
    """n images side by side in `columns` columns, the square root of n rounded up by default.

    Takes `(n, height, width)` or `(n, height, width, 1 or 3)` whole numbers in 0..levels-1, which
    are stretched to 0..255. Returns uint8 `(H, W)` for grey images and `(H, W, 3)` for colour, with
    `padding` white pixels between images and empty places white.

    Raises a ValueError if the shape or the values are others.

    >>> image_grid(np.zeros((3, 4, 4, 1), "uint8"), columns=2, padding=1).shape
    (9, 9)
    """
    images, columns = np.asarray(images), whole_or_none(columns, "columns", least=1)
    padding, levels = whole_number(padding, "padding", least=0), whole_number(levels, "levels", least=2)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    colour = images.ndim == 4 and images.shape[-1] == 3
    if not (colour or images.ndim == 3) or 0 in images.shape:
        raise ValueError(
            "images: expected (n, height, width), or that with 1 or 3 channels at the end, "
            f"received shape {images.shape}."
        )
    if images.dtype.kind not in "iu" or images.min() < 0 or images.max() >= levels:
        raise ValueError(
            f"images: expected whole numbers in 0..{levels - 1}, received {images.dtype} in "
            f"{images.min()}..{images.max()}."
        )
    images = (images.astype("int64") * 255 // (levels - 1)).astype("uint8")
    count, height, width = images.shape[:3]
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    down, across = height + padding, width + padding
    grid = np.full((rows * down - padding, columns * across - padding, *images.shape[3:]), 255)
    for position, image in enumerate(images):
        top, left = position // columns * down, position % columns * across
        grid[top : top + height, left : left + width] = image
    return grid.astype("uint8")


def enlarged(grid: np.ndarray, zoom: int | None = None) -> np.ndarray:
    """`grid`, `(H, W)` or `(H, W, 3)`, with each pixel a square of `zoom`.

    None takes the least zoom that brings the longer side to 512 pixels; a picture of that size is left as it is.

    >>> enlarged(np.zeros((18, 38), "uint8")).shape  # 14 times
    (252, 532)
    """
    zoom = math.ceil(_LONG_SIDE / max(grid.shape[:2])) if zoom is None else zoom
    return grid.repeat(zoom, axis=0).repeat(zoom, axis=1)


def save_png(path: str | Path, array: Any) -> None:
    """Write a uint8 array, `(H, W)` or `(H, W, 3)`, as a PNG file, in a single step.

    Raises a ValueError if the array is another.
    """
    array = np.asarray(array)
    if array.dtype != np.uint8 or not (array.ndim == 2 or array.shape[2:] == (3,)):
        raise ValueError(f"array: expected uint8 (H, W) or (H, W, 3), received {array.dtype} {array.shape}.")
    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")


def save_curves(
    path: str | Path, epochs: Sequence[int], curves: dict[str, Sequence[float]], *, ylabel: str = "bits/dim"
) -> None:
    """Draw `curves`, name -> values, over `epochs`, to a PNG file.

    Values may be None or NaN, and leave a gap.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow, and needed at the end only
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    # Not through pyplot, which would choose a window system and change the caller's settings.
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="epoch", ylabel=ylabel)
    for name, values in curves.items():
        values = [math.nan if value is None else value for value in values]
        axes.plot(epochs, values, marker="." if len(values) < 30 else None, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def sample_grid(
    flow: Any,
    count: int = 64,
    *,
    classes: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    levels: int = 256,
    spread: bool = False,
) -> np.ndarray:
    """`image_grid` of `count` samples of `flow`; with `classes`, one row of samples for each class.

    Samples are drawn from the seed given here, and leave the flow's own random state alone. `spread`, for all processes
    of a group at once, is that of `Flow.sample`.
    """
    how: dict[str, Any] = {"temperature": temperature, "seed": seed}
    if spread and distributed.world() > 1:
        how["spread"] = True
    if classes is None:
        images = flow.sample(count, **how)
        return image_grid(images, levels=levels)
    each = max(1, count // classes)
    images = flow.sample(each, np.arange(classes), **how)
    images = np.swapaxes(images, 0, 1)  # (class, sample, height, width, channels)
    return image_grid(images.reshape(-1, *images.shape[2:]), columns=each, levels=levels)


class SampleGrid(keras.callbacks.Callback):
    """Writes `folder/epoch-001.png`, and so on: samples of each epoch, from the same latents; small ones `enlarged`.

    Shows the averaged weights if the optimizer keeps them, and draws from its own seed, so that
    training with this callback and without it comes to the same weights bit for bit. In a group of processes
    (`flowkit.distributed`) all of them have it, each decodes its part of the samples, and the main one writes.

    Args:
        folder: where the pictures go; made if it is missing.
        count, classes, temperature, seed, levels: as for `sample_grid`.
        every: draw in every so many epochs.

    Raises a ValueError for numbers out of range, and before training if the model's samples are no images of 1 or
    3 channels.

    >>> SampleGrid("samples", 16, every=5)
    SampleGrid('samples', every=5)
    """

    __repr__ = one_line

    def __init__(
        self,
        folder: str | Path,
        count: int = 64,
        *,
        classes: int | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        levels: int = 256,
        every: int = 1,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.every = whole_number(every, "every", least=1)
        whole_number(count, "count", least=1)
        whole_number(seed, "seed", least=0)
        check_look(classes, temperature, levels)
        self._how = {
            "count": count,
            "classes": classes,
            "temperature": temperature,
            "seed": seed,
            "levels": levels,
        }

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        event = getattr(self.model, "event_shape", None)
        if event is not None and not (len(event) == 3 and event[-1] in (1, 3)):
            raise ValueError(
                f"SampleGrid expects a model of images (height, width, 1 or 3), received one of events {event}."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every:
            return
        with averaged_weights(self.model):
            grid = sample_grid(self.model, **self._how, spread=True)
        if distributed.is_main():
            save_png(self.folder / f"epoch-{epoch + 1:03d}.png", enlarged(grid))
