"""An image file becomes an array."""

import warnings
from pathlib import Path

import numpy as np

from flowkit.data.bounded import MAX_BYTES, FileError, check_bytes, regular_size
from flowkit.data.geometry import crop_and_resize

# Pillow knows many more, some of which start other programs.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
PER_PIXEL = 16  # bytes while an image is read: Pillow takes 4, and transparent ones are copied three times


def read_image(
    path: str | Path,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> np.ndarray:
    """One file as uint8 `(height, width, channels)`; what is transparent is put on white.

    `size`, `channels`, `max_bytes`: as for `flowkit.data.load`. Raises ValueError if the file is no image of 8
    bits, or has more pixels than Pillow takes for safe (`PIL.Image.MAX_IMAGE_PIXELS`, 89 million).
    """
    from PIL import Image, ImageOps

    regular_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(path, formats=FORMATS)
        with opened as image:
            check_bytes(PER_PIXEL * image.width * image.height, max_bytes, str(path))
            image.load()
            # Cameras store how the picture was held beside the pixels.
            image = ImageOps.exif_transpose(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise FileError(
            f"{path}: expected an image of at most {Image.MAX_IMAGE_PIXELS:,} pixels, received a larger one. "
            "Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it."
        ) from None
    except FileError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever a damaged file leads them to
        raise ValueError(
            f"{path}: expected an image, received a file that can't be read as one ({_reason(error)}). "
            "Replace or delete it."
        ) from error
    if image.mode == "F" or image.mode.startswith("I"):
        raise ValueError(
            f"{path}: expected 8 bits per channel, received Pillow mode {image.mode!r}. "
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
        image = crop_and_resize(image, size)
    return np.asarray(image, np.uint8).reshape(image.height, image.width, channels)


def _reason(error):
    """Pillow's reason in a few words, without the path, which is said already."""
    if type(error).__name__ == "UnidentifiedImageError":
        return f"not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    reason = getattr(error, "strerror", None) or str(error) or "no detail"
    return f"{type(error).__name__}: {reason.splitlines()[0]}"
