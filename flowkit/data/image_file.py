"""An image file becomes an array."""

import numpy as np

from flowkit.data.geometry import crop_and_resize


def read_image(path, size=None, channels=None):
    """One file as uint8 `(height, width, channels)`; what is transparent is put on white.

    `size`, `channels`: as for `flowkit.data.load`. Raises ValueError where the file is no image of 8 bits.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.load()
            # Cameras store how the picture was held beside the pixels.
            image = ImageOps.exif_transpose(image)
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
        return "of no format that Pillow knows"
    reason = getattr(error, "strerror", None) or str(error) or "no detail"
    return f"{type(error).__name__}: {reason.splitlines()[0]}"
