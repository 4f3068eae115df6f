"""Augmentations of a batch of images: small shifts, mirror images, crops and slight distortions.

Published Glow shifts CIFAR-10 and MNIST by up to a tenth, crops LSUN at random, and leaves the others as they
are; its optional "extra" level is `shift`, `flip` and `distort` together.

Each returns a function `(images, rng) -> images` that `batches(..., augment=)` calls with a NumPy generator of its
own for every batch, so that a run can be repeated and resumed. They move whole pixels, hence stay uint8:
interpolation would smooth the noise that bits per dimension count.
"""

import math
from typing import Annotated

import numpy as np

from flowkit.contract.arguments import Count, Fraction, checked, real

NotNegative = Annotated[float, real(0, math.inf, "a number from 0 up", "[)")]


@checked
def shift(max_fraction: Annotated[float, real(0, 1, "a number in [0, 1]")] = 0.1):
    """Move each image by up to `max_fraction` of its height and width; edges are repeated.

    Args:
        max_fraction: of each side, 0..1. A 28x28 image moves by up to 2 pixels at 0.1.

    Returns:
        A function of images `(n, height, width, channels)` and a `numpy.random.Generator`.

    Raises:
        ValueError: if `max_fraction` is not in 0..1.

    Example:
        >>> images = np.arange(200, dtype="uint8").reshape(2, 10, 10, 1)
        >>> shift(0.1)(images, np.random.default_rng(0)).shape
        (2, 10, 10, 1)
    """

    def apply(images, rng):
        count, *sides = images.shape[:3]
        most = (int(max_fraction * side) for side in sides)
        down, right = (rng.integers(-far, far, endpoint=True, size=(count, 1, 1)) for far in most)
        row, column = np.indices(sides, sparse=True)
        return _read_at(images, row + down, column + right)

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


@checked
def crop(size: Count):
    """Cut a square of side `size` out of each image, at a random place.

    Returns:
        A function of images `(n, height, width, channels)` and a `numpy.random.Generator`, whose images are
        `(n, size, size, channels)`. It raises ValueError for images that are smaller.

    Example:
        >>> images = np.arange(32, dtype="uint8").reshape(2, 4, 4, 1)
        >>> crop(2)(images, np.random.default_rng(0))[..., 0].tolist()
        [[[9, 10], [13, 14]], [[20, 21], [24, 25]]]
    """

    def apply(images, rng):
        return cut(images, size, *corners(images.shape, size, rng))

    return apply


def corners(shape, size, rng):
    """Draw the rows and columns at which squares of side `size` begin, for an array of images of `shape`."""
    count, height, width = shape[:3]
    if size > min(height, width):
        raise ValueError(f"crop: got images of {width}x{height}, expected at least {size}x{size}.")
    rows = rng.integers(height - size, endpoint=True, size=count)
    return rows, rng.integers(width - size, endpoint=True, size=count)


def cut(images, size, rows, columns):
    """Return the square of side `size` that begins in each image at its row and column."""
    row, column = np.indices((size, size), sparse=True)
    return _read_at(images, row + rows[:, None, None], column + columns[:, None, None])


@checked
def distort(rotation: NotNegative = 15, zoom: Fraction = 0.1, shear: NotNegative = 0.02):
    """Turn each image about its centre, stretch and shear it a little; edges are repeated.

    Args:
        rotation: the largest angle, in degrees.
        zoom: height and width are each multiplied by a factor in 1 - zoom..1 + zoom.
        shear: each column is moved along itself by up to this share of its distance from the centre.

    Returns:
        A function of images `(n, height, width, channels)` and a `numpy.random.Generator`.

    Raises:
        ValueError: if one of the three is negative, or `zoom` is not below 1.

    Example:
        >>> images = np.arange(128, dtype="uint8").reshape(2, 8, 8, 1)
        >>> bool((distort(0, 0, 0)(images, np.random.default_rng(0)) == images).all())
        True
    """

    def apply(images, rng):
        count = len(images)
        angle = np.radians(rng.uniform(-rotation, rotation, count))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        slant = np.array(
            [[np.ones(count), rng.uniform(-shear, shear, count)], [np.zeros(count), np.ones(count)]]
        )
        stretch = 1 + rng.uniform(-zoom, zoom, (2, count))
        return moved_by(images, np.einsum("ijn,jkn,kn->nik", turn, slant, stretch))

    return apply


def moved_by(images, matrices):
    """Move pixels: the one at p, counted from the centre, becomes the nearest to `matrix @ p`, or the edge's."""
    height, width = images.shape[1:3]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    place = np.einsum("nij,jhw->nihw", matrices, np.indices((height, width)) - centre) + centre
    row, column = np.round(place).astype(int).transpose(1, 0, 2, 3)
    return _read_at(images, row, column)


def _read_at(images, row, column):
    """Return the pixels at places, `(count, height, width)` or of lengths 1; beyond an edge, those of the edge."""
    count, height, width = images.shape[:3]
    image = np.arange(count)[:, None, None]
    return images[image, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
