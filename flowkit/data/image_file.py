"""Images from files, and their size and channels: crop, resize, pad, grey to colour and back. All in uint8."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from flowkit.contract.arguments import whole_number
from flowkit.data.bounded import FileError, check_shape, reading

# Pillow knows many more, some of which start other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
# It averages pixels and stays in 0..255, while bicubic and Lanczos overshoot.
_SHRINK = Image.Resampling.BOX


def read_image(
    file: str | Path | BinaryIO,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    name: str | None = None,
) -> np.ndarray:
    """Return one image as uint8 `(height, width, channels)`, on white where it is transparent.

    `size`, `channels`: as for `flowkit.data.load`; errors call the image `name`. Raises FileError if the
    file is no image of 8 bits, or has more pixels than Pillow takes for safe (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    name = name or str(file)
    with reading(name, f"an image ({', '.join(_FORMATS[:-1])} or {_FORMATS[-1]})"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(file, formats=_FORMATS)
        with opened:
            opened.load()
            # Cameras store how the picture was held beside the pixels.
            image: Image.Image = ImageOps.exif_transpose(opened)
    if image.mode == "F" or image.mode.startswith("I"):
        raise FileError(
            f"{name}: expected 8 bits per channel, received Pillow mode {image.mode!r}. "
            "Convert it to an 8-bit image first."
        )
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        grey = image.mode in ("LA", "La", "L")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("L" if grey else "RGB")
    if channels is None:
        channels = 1 if image.mode in ("1", "L") else 3
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        image = ImageOps.fit(image, size[::-1], _SHRINK)
    return np.asarray(image, np.uint8).reshape(image.height, image.width, channels)


def stack_images(images: Iterable[np.ndarray], names: list[str], max_bytes: int) -> np.ndarray:
    """Return images of one size as one array, in colour if any is, else grey; errors use their `names`."""
    found: list[np.ndarray] = []
    for image, name in zip(images, names, strict=True):
        if not found:
            check_shape((len(names), *image.shape), 1, max_bytes, f"{len(names):,} images such as {name}")
        found.append(image)
        check_sides(found[0].shape, names[0], image.shape, name)
    channels = max(image.shape[-1] for image in found)
    return np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image in found])


def check_sides(expected: Any, first: str, received: Any, name: str) -> None:
    """Raise FileError if an image has other sides than the first one."""
    if tuple(expected[:2]) != tuple(received[:2]):
        raise FileError(
            f"{name}: expected {expected[1]}x{expected[0]} pixels as in {Path(first).name}, received {received[1]}x"
            f"{received[0]}. Give a size, as size=32 or --set data.size=32, to crop and resize all images to one."
        )


def check_size(size: Any) -> tuple[int, int] | None:
    """Return `size` as (height, width), from a whole number for squares or a pair; None stays None."""
    if size is None:
        return None
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"size: expected a whole number or (height, width), received {size!r}.")
    height, width = pair
    return whole_number(height, "size", least=1), whole_number(width, "size", least=1)


def bring(images: np.ndarray, size: tuple[int, int] | None, channels: int | None, name: str) -> np.ndarray:
    """Bring `(n, h, w, c)` arrays to `size` and `channels`, as image files are; put zeros around smaller ones.

    Grey becomes colour by repetition, and colour grey by the ITU-R 601 weights.
    """
    sides, have = images.shape[1:3], images.shape[-1]
    size, channels = size or sides, channels or have
    spare = np.subtract(size, sides)
    shrink = spare.min() < 0
    if (shrink or channels != have) and have not in (1, 3):
        raise ValueError(
            f"{name}: expected 1 or 3 channels to resize or convert, received {have}. "
            "Do so yourself, and leave size= and channels= out."
        )
    if shrink or channels != have:
        moved = np.empty((len(images), *(size if shrink else sides), channels), np.uint8)
        for image, place in zip(images, moved, strict=True):
            picture = Image.fromarray(image[..., 0] if have == 1 else image)
            picture = picture.convert("L" if channels == 1 else "RGB")
            picture = ImageOps.fit(picture, size[::-1], _SHRINK) if shrink else picture
            place[...] = np.asarray(picture).reshape(place.shape)
        images = moved
    if not shrink and spare.any():
        # As the literature brings MNIST to 32x32. Enlarging 28 to 32 would repeat every seventh
        # pixel and nothing else.
        images = np.pad(images, ((0, 0), *((n // 2, n - n // 2) for n in spare), (0, 0)))
    return np.ascontiguousarray(images)
