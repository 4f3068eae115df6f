"""Pictures of a run, as PNG files that are always whole: grids of samples, curves, histograms, pairs of columns."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flowkit import distributed
from flowkit.contract import Tensor
from flowkit.contract.arguments import Count, Seed, checked, is_number, whole
from flowkit.contract.configured import Configured
from flowkit.data.typed_columns import TypedColumns
from flowkit.flow import Flow
from flowkit.plots import MOST_COLUMNS, draw_pairs
from flowkit.training.atomic import atomic_path
from flowkit.training.optimizing import averaged_weights

_LONG_SIDE = 512  # pixels of a picture of small images, which would be a thumbnail


def temperature(value: Any, name: str) -> Any:
    """Return a temperature, or one for each level. Raises ValueError unless they are numbers from 0 up."""
    largest = float(np.finfo("float32").max)
    given = np.ravel(np.asarray(value, object)).tolist()
    if not given or not all(is_number(one) and 0 <= one <= largest for one in given):
        raise ValueError(f"{name}: got {value!r}, expected a number from 0 up.")
    return value


Temperature = Annotated[Any, temperature]
Levels = Annotated[int, whole(2)]
Padding = Annotated[int, whole(0)]


@checked
def image_grid(
    images: Tensor, columns: Count | None = None, padding: Padding = 2, levels: Levels = 256
) -> np.ndarray:
    """Return n images side by side in `columns` columns, the square root of n rounded up by default.

    Takes `(n, height, width)` or `(n, height, width, 1 or 3)` whole numbers in 0..levels-1, which are stretched to
    0..255. Returns uint8 `(H, W)` for grey images and `(H, W, 3)` for colour, with `padding` white pixels between
    images and empty places white.

    Raises ValueError for another shape or other values.

    >>> image_grid(np.zeros((3, 4, 4, 1), "uint8"), columns=2, padding=1).shape
    (9, 9)
    """
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    colour = images.ndim == 4 and images.shape[-1] == 3
    if not (colour or images.ndim == 3) or 0 in images.shape:
        raise ValueError(
            f"images: got shape {images.shape}, expected (n, height, width) or (n, height, width, 1 or 3)."
        )
    if images.dtype.kind not in "iu" or images.min() < 0 or images.max() >= levels:
        raise ValueError(
            f"images: got {images.dtype} in {images.min()}..{images.max()}, expected whole numbers in "
            f"0..{levels - 1}."
        )
    images = (images.astype("int64") * 255 // (levels - 1)).astype("uint8")
    count = len(images)
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width, *channels = images.shape[1:]
    down, across = height + padding, width + padding
    grid = np.full((rows * down - padding, columns * across - padding, *channels), 255, "uint8")
    for place, image in enumerate(images):
        top, left = down * (place // columns), across * (place % columns)
        grid[top : top + height, left : left + width] = image
    return grid


def enlarged(grid: np.ndarray, zoom: int | None = None) -> np.ndarray:
    """Return `grid`, `(H, W)` or `(H, W, 3)`, with each pixel a square of `zoom`.

    None takes the least zoom that brings the longer side to 512 pixels.

    >>> enlarged(np.zeros((18, 38), "uint8")).shape  # 14 times
    (252, 532)
    """
    zoom = math.ceil(_LONG_SIDE / max(grid.shape[:2])) if zoom is None else zoom
    return grid.repeat(zoom, axis=0).repeat(zoom, axis=1)


def save_png(path: str | Path, array: Tensor) -> None:
    """Write a uint8 array, `(H, W)` or `(H, W, 3)`, as a PNG file, in a single step.

    Raises ValueError for another array.
    """
    array = np.asarray(array)
    if array.dtype != np.uint8 or not (array.ndim == 2 or array.shape[2:] == (3,)):
        raise ValueError(f"array: got {array.dtype} {array.shape}, expected uint8 (H, W) or (H, W, 3).")
    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")


class ImageGrid:
    """`image_grid(images)`, which a notebook shows if it is the last value of a cell; `save(path)` writes it.

    Arguments and errors are those of `image_grid`; `zoom` makes each pixel a square of that size, None one that brings
    an image to about 64 pixels.

    >>> import numpy as np
    >>> ImageGrid(np.zeros((6, 28, 28, 1), "uint8"))
    ImageGrid(6 images of 28x28x1)
    """

    @checked
    def __init__(
        self,
        images: Tensor,
        columns: Count | None = None,
        padding: Padding = 2,
        levels: Levels = 256,
        *,
        zoom: Count | None = None,
    ) -> None:
        self.pixels = image_grid(images, columns, padding, levels)
        self._shape = np.shape(images)
        self.zoom = zoom or max(1, round(64 / self._shape[1]))

    def save(self, path: str | Path) -> None:
        """Write the grid, pixel by pixel, as a PNG file."""
        save_png(path, self.pixels)

    def __repr__(self):
        return f"ImageGrid({self._shape[0]} images of {'x'.join(map(str, self._shape[1:]))})"

    def _repr_png_(self):
        file = io.BytesIO()
        Image.fromarray(enlarged(self.pixels, self.zoom)).save(file, format="PNG")
        return file.getvalue()


def new_figure(width: float, height: float, dpi: int = 120) -> Any:
    """Return a matplotlib figure without pyplot, which chooses a window system and changes the caller's settings."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow, and needed at the end of epochs only
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(path: str | Path, figure: Any) -> None:
    """Write a figure as a PNG file, in a single step."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def save_curves(
    path: str | Path, epochs: Sequence[int], curves: dict[str, Sequence[float]], *, ylabel: str = "bits/dim"
) -> None:
    """Draw `curves`, name -> values, over `epochs`, to a PNG file. A value of None or NaN leaves a gap."""
    figure = new_figure(6, 4)
    axes = figure.add_subplot(ylabel=ylabel)
    plot_curves(axes, epochs, curves)
    axes.legend()
    save_figure(path, figure)


def plot_curves(axes: Any, epochs: Sequence[int], curves: dict[str, Sequence[Any]]) -> None:
    """Plot `curves` over `epochs`, all but the first dashed in its colour."""
    look: dict[str, Any] = {"marker": "." if len(epochs) < 30 else None}
    for name, values in curves.items():
        values = [math.nan if value is None else value for value in values]
        (line,) = axes.plot(epochs, values, label=name, **look)
        look |= {"linestyle": "--", "color": line.get_color()}
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)


def histogram_picture(values: Any, name: str) -> np.ndarray:
    """Draw the density of values as a picture of pixels (320, 480, 3), uint8.

    The axis shows the middle 99.8 percent, so that an outlier leaves the others their shape.
    """
    values = np.asarray(values, "float64").ravel()
    low, high = np.quantile(values, [0.001, 0.999])
    middle, half = (low + high) / 2, max((high - low) / 2, 1e-6 * max(1.0, abs(high)))
    figure = new_figure(4.8, 3.2, dpi=100)
    axes = figure.add_subplot(xlabel=name, ylabel="density")
    axes.hist(values, np.linspace(middle - half, middle + half, 41), density=True)
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]


def sample_grid(
    flow: Flow,
    count: int = 64,
    *,
    classes: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    levels: int = 256,
    spread: bool = False,
) -> np.ndarray:
    """Return the `image_grid` of `count` samples of `flow`; with `classes`, in the places of `class_places`.

    Samples are drawn from `seed`, and leave the flow's own random state alone. `spread`, for all processes of a group
    at once, is that of `Flow.sample`.
    """
    how: dict[str, Any] = {"temperature": temperature, "seed": seed, "spread": spread}
    if classes is None:
        images = flow.sample(count, **how)
        return image_grid(images, levels=levels)
    places = class_places(count, classes)
    drawn = places >= 0
    images = flow.sample(1, places[drawn], **how)[0]
    whole = np.full((*places.shape, *images.shape[1:]), levels - 1, images.dtype)  # white where no sample is
    whole[drawn] = images
    return image_grid(whole.reshape(-1, *images.shape[1:]), columns=places.shape[1], levels=levels)


def class_places(count: int, classes: int) -> np.ndarray:
    """Return the class in each place of a grid of `count` images, as evenly as they go; -1 where no image is.

    Each class begins a row.

    >>> class_places(8, 3).tolist()
    [[0, 0, 0], [1, 1, 1], [2, 2, -1]]
    """
    labels = np.arange(count) * classes // count
    columns = min(-(-count // classes), math.ceil(math.sqrt(count)))
    rows = []
    for label in np.unique(labels):
        own = labels[labels == label]
        rows.append(np.pad(own, (0, -len(own) % columns), constant_values=-1).reshape(-1, columns))
    return np.concatenate(rows)


def titled(picture: np.ndarray, titles: Sequence[str]) -> np.ndarray:
    """Return a grid's picture with a title to the left of each of its rows; an empty one leaves its place white."""
    height = len(picture) / len(titles)
    font = ImageFont.load_default(size=min(20.0, max(8.0, height / 2)))
    left = 8 + math.ceil(max(font.getlength(title) for title in titles))
    white = ((0, 0), (left, 0), (0, 0))[: picture.ndim]
    image = Image.fromarray(np.pad(picture, white, constant_values=255))
    draw = ImageDraw.Draw(image)
    for row, title in enumerate(titles):
        draw.text((4, (row + 0.5) * height), title, "black", font, anchor="lm")
    return np.asarray(image)


class SampleGrid(Configured, keras.callbacks.Callback):
    """Write `folder/epoch-001.png`, and so on: samples of each epoch, from the same latents; small ones `enlarged`.

    Shows the averaged weights if the optimizer keeps them, and draws from its own seed: training with this callback and
    without it comes to the same weights bit for bit. In a group of processes (`flowkit.distributed`) all have this
    callback, each decodes its part of the samples, and the main one writes.

    Args:
        folder: where the pictures go; made if it is missing.
        count, classes, temperature, seed, levels: as for `sample_grid`.
        every: the number of epochs from one picture to the next.

    Raises ValueError for numbers out of range, and before training if the model's samples are no images of 1 or 3
    channels.

    >>> SampleGrid("samples", 16, every=5)
    SampleGrid('samples', 16, every=5)
    """

    def __init__(
        self,
        folder: str | Path,
        count: Count = 64,
        *,
        classes: Count | None = None,
        temperature: Temperature = 1.0,
        seed: Seed = 0,
        levels: Levels = 256,
        every: Count = 1,
    ) -> None:
        super().__init__()
        self.folder, self.every = Path(folder), every
        look = {"classes": classes, "temperature": temperature, "seed": seed, "levels": levels}
        self._how: dict[str, Any] = {"count": count, **look}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        event = getattr(self.model, "event_shape", None)
        if event is not None and not (len(event) == 3 and event[-1] in (1, 3)):
            raise ValueError(
                f"SampleGrid: got a model of events {event}, expected one of images (height, width, 1 or 3)."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every:
            return
        with averaged_weights(self.model):
            grid = sample_grid(self.model, **self._how, spread=True)
        if distributed.is_main():
            save_png(self.folder / f"epoch-{epoch + 1:03d}.png", enlarged(grid))


def save_pairs(
    path: str | Path,
    data: np.ndarray,
    samples: np.ndarray,
    names: Sequence[Any] | None = None,
    types: TypedColumns | None = None,
) -> None:
    """Draw two tables, `(rows, columns)`, to a PNG file: data below the diagonal, samples above, both on it.

    Draws at most 2,000 rows of each, and the first 10 columns. An axis shows 99.8 percent of both, but at most half the
    data's width beyond the data on each side; a line below counts the rows outside. `types` are those of the columns of
    a mixed table, which holds codes; missing entries are counted and not drawn.
    """
    data, samples = np.asarray(data, "float64"), np.asarray(samples, "float64")
    names = [f"column {i}" for i in range(data.shape[1])] if names is None else names
    count, names = len(names), names[:MOST_COLUMNS]
    figure = new_figure(1 + 1.3 * len(names), 1 + 1.3 * len(names))
    limits = draw_pairs(figure, data, samples, names, types=types)
    if types is not None:
        data, samples = types.drawable(data), types.drawable(samples)
    outside = f"data {_outside(data, limits)}, samples {_outside(samples, limits)}"
    lines = [f"the first {len(names)} of {count} columns"] * (count > len(names))
    lines.append(f"rows outside of the axes: {outside}")
    for name, *parts in zip(names, np.isnan(data).mean(axis=0), np.isnan(samples).mean(axis=0), strict=False):
        if any(parts):
            lines.append(
                f"missing {name}, not drawn: {parts[0]:.1%} of the data, {parts[1]:.1%} of the samples"
            )
    figure.supxlabel("\n".join(lines), fontsize=8)
    save_figure(path, figure)


def save_quantiles(path: str | Path, latents: Tensor, expected: np.ndarray) -> None:
    """Draw the quantiles of `latents` over those of `expected`, draws of their density, to a PNG file: a QQ plot.

    Both are `(rows, columns)`. A column on the diagonal is distributed as it should be; at most 40 are drawn.
    """
    latents, expected = np.asarray(latents, "float64"), np.asarray(expected, "float64")
    # At most one point for each row, denser in the tails.
    count = max(2, min(200, len(latents)))
    levels = (1 - np.cos(np.pi * (np.arange(count) + 0.5) / count)) / 2
    levels = np.clip(levels, 0.5 / len(latents), 1 - 0.5 / len(latents))
    figure = new_figure(5, 5)
    axes = figure.add_subplot(
        xlabel="quantiles of the base density", ylabel="quantiles of the test rows' latents"
    )
    ends = []
    for column in range(min(40, latents.shape[1])):
        name = None if latents.shape[1] > 10 else f"latent {column}"
        there, here = (np.quantile(table[:, column], levels) for table in (expected, latents))
        axes.plot(there, here, linewidth=1, label=name)
        ends += [there[0], there[-1], here[0], here[-1]]
    ends = [end for end in ends if math.isfinite(end)] or [-1, 1]
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color="black", linewidth=0.8, linestyle="--")
    axes.grid(alpha=0.3)
    if latents.shape[1] <= 10:
        axes.legend(fontsize=7)
    save_figure(path, figure)


def _outside(table, limits):
    """Count the rows with an entry outside the axes, in words; missing entries are not outside."""
    low, high = np.transpose(limits)
    shown = table[:, : len(limits)]
    outside = ((shown < low) | (shown > high)).any(axis=1)
    return f"{int(outside.sum()):,} of {len(table):,}"
