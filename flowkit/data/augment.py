"""Augmentations of a batch of images: small shifts and mirror images, as in published Glow.

Each is a function `(images, rng) -> images` that `batches(..., augment=)` calls with a NumPy
generator of its own for every batch, so that a run can be repeated and resumed. They move whole
pixels, hence stay uint8: interpolation would smooth the noise that bits per dimension count.
"""

import numpy as np


def shift(max_fraction=0.1):
    """Move each image by up to `max_fraction` of its height and width; edges are repeated.

    Args:
        max_fraction: of each side, 0..1. A 28x28 image moves by up to 2 pixels at 0.1.

    Returns:
        A function of images `(n, height, width, channels)` and a `numpy.random.Generator`.

    Raises:
        ValueError: where `max_fraction` is not in 0..1.

    Example:
        >>> images = np.arange(200, dtype="uint8").reshape(2, 10, 10, 1)
        >>> shift(0.1)(images, np.random.default_rng(0)).shape
        (2, 10, 10, 1)
    """
    if not 0 <= max_fraction <= 1:
        raise ValueError(f"max_fraction: expected 0..1, received {max_fraction!r}.")

    def apply(images, rng):
        count, height, width = images.shape[:3]
        rows = _moved(height, int(max_fraction * height), count, rng)
        columns = _moved(width, int(max_fraction * width), count, rng)
        image = np.arange(count)[:, None, None]
        return images[image, rows[:, :, None], columns[:, None, :]]

    return apply


def flip():
    """Mirror each image left to right with probability 1/2.

    Returns:
        A function of images `(n, height, width, channels)` and a `numpy.random.Generator`.

    Example:
        >>> images = np.array([[1, 2]] * 3, "uint8").reshape(3, 1, 2, 1)
        >>> flip()(images, np.random.default_rng(0))[:, 0, :, 0].tolist()
        [[1, 2], [2, 1], [2, 1]]
    """

    def apply(images, rng):
        mirrored = rng.random(len(images)) < 0.5
        return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)

    return apply


def _moved(length, most, count, rng):
    """For each image the positions along one axis to read from, `(count, length)`."""
    offsets = rng.integers(-most, most, endpoint=True, size=(count, 1))
    return np.clip(np.arange(length) + offsets, 0, length - 1)
