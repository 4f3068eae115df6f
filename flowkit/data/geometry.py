"""Size and channels of images: crop, resize, pad, grey to colour and back. All in uint8."""

import numpy as np

_AT_ONCE = 2**16


def check_size(size):
    """`size` as (height, width), from an int for squares or a pair; None stays None."""
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int | np.integer) else size
    try:
        height, width = pair
        good = height == int(height) > 0 and width == int(width) > 0
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"size: expected a positive whole number or (height, width), received {size!r}.")
    return int(height), int(width)


def check_channels(channels):
    """Raise a ValueError unless `channels` is 1, 3 or None."""
    if channels not in (None, 1, 3):
        raise ValueError(
            f"channels: expected 1 (grey), 3 (colour) or None (as stored), received {channels!r}."
        )


def crop_and_resize(image, size):
    """Crop a Pillow image about its centre to the shape of `size`, then resize it to that.

    Pillow's BOX filter averages whole pixels and rounds: the result stays in 0..255, while
    bicubic and Lanczos overshoot.
    """
    from PIL import Image

    height, width = size
    crop_width = min(image.width, max(1, round(image.height * width / height)))
    crop_height = min(image.height, max(1, round(image.width * height / width)))
    left, top = (image.width - crop_width) // 2, (image.height - crop_height) // 2
    image = image.crop((left, top, left + crop_width, top + crop_height))
    return image.resize((width, height), Image.Resampling.BOX)


def resize_arrays(images, size, name):
    """Bring `(n, h, w, c)` arrays to `size`: zeros around smaller ones, the rest as files are."""
    if size is None or images.shape[1:3] == size:
        return images
    spare = [want - have for want, have in zip(size, images.shape[1:3], strict=True)]
    if min(spare) >= 0:
        # As the literature brings MNIST to 32x32. Enlarging 28 to 32 would repeat every seventh
        # pixel and nothing else.
        around = [(n // 2, n - n // 2) for n in spare]
        return np.pad(images, ((0, 0), *around, (0, 0)))
    if images.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name}: expected 1 or 3 channels to resize, received {images.shape[-1]}. "
            "Resize the images yourself and leave size= out."
        )
    from PIL import Image

    grey = images.shape[-1] == 1
    resized = np.empty((len(images), *size, images.shape[-1]), np.uint8)
    for image, place in zip(images, resized, strict=True):
        small = crop_and_resize(Image.fromarray(image[..., 0] if grey else image), size)
        place[...] = np.asarray(small).reshape(place.shape)
    return resized


def convert_channels(images, channels, name):
    """Grey to colour by repetition, colour to grey by the ITU-R 601 weights, as Pillow does it."""
    have = images.shape[-1]
    if channels is None or have == channels:
        return images
    if have == 1:
        return np.repeat(images, channels, axis=-1)
    if have != 3:
        raise ValueError(
            f"{name}: expected 1 or 3 channels to convert to {channels}, received {have}. "
            "Leave channels= out, or pick the channels yourself."
        )
    weights = np.array([19595, 38470, 7471], np.uint32)  # of 65536; Pillow's own integers
    pixels = np.ascontiguousarray(images).reshape(-1, 3)
    grey = np.empty(len(pixels), np.uint8)
    for start in range(0, len(pixels), _AT_ONCE):  # the products take six times the pixels
        part = slice(start, start + _AT_ONCE)
        grey[part] = (pixels[part] @ weights + 32768) >> 16
    return grey.reshape(*images.shape[:-1], 1)
