"""Checks on arrays of images and labels, with errors that say what to do."""

from typing import Annotated

import keras
import numpy as np

from flowkit.contract import Tensor
from flowkit.contract.arguments import checked, whole

Levels = Annotated[int, whole(2, 256)]


@checked
def validate_images(x: Tensor, levels: Levels = 256, name: str = "images") -> np.ndarray:
    """Check that `x` holds whole-number images and return them as a uint8 array.

    Args:
        x: array or tensor of shape `(n, height, width, channels)`; `(n, height, width)` gets a
            channel axis. Integers, or floats that are all whole numbers.
        levels: the number of values that a pixel can take, 2..256; values must lie in `0..levels-1`.
        name: the name of the array in an error.

    Returns:
        uint8 array of shape `(n, height, width, channels)`.

    Raises:
        ValueError: if `x` is anything else. One line: what came, what was expected, what to do.

    Example:
        >>> validate_images(np.full((2, 4, 4), 255.0)).shape
        (2, 4, 4, 1)
        >>> validate_images(np.full((2, 4, 4, 1), 0.5))
        Traceback (most recent call last):
        ValueError: images: got float64 values such as 0.5 between 0.5 and 0.5, expected whole numbers in 0..255. \
They look scaled to 0..1: pass (x * 255).round().astype("uint8").
    """
    return _as_uint8(with_channels(_as_array(x), name), levels, name)


def validate_labels(labels: Tensor, count: int | None, name: str = "labels") -> np.ndarray:
    """Check that `labels` holds one whole number per image and return them as int64.

    Args:
        labels: shape `(count,)` or `(count, 1)`, integers or whole floats.
        count: the number of images.
        name: the name of the array in an error.

    Returns:
        int64 array of shape `(count,)`.

    Raises:
        ValueError: if the shape, the number or the values do not fit.

    Example:
        >>> validate_labels([[1], [2]], 2)
        array([1, 2])
    """
    labels = _as_array(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"{name}: got shape {labels.shape}, expected one whole number per image, shape ({count},). Pass class "
            "indices; for one-hot rows that is labels.argmax(1)."
        )
    if len(labels) != count:
        raise ValueError(
            f"{name}: got {len(labels)}, expected one per image, {count} in all. Check that images and labels come "
            "from the same split."
        )
    if labels.dtype.kind not in "iu" and not (
        labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels % 1 == 0).all()
    ):
        raise ValueError(
            f"{name}: got {labels.dtype}, expected whole numbers. Number the classes, for example with "
            "np.unique(labels, return_inverse=True)."
        )
    return labels.astype(np.int64)


def _as_array(x):
    return keras.ops.convert_to_numpy(x) if keras.ops.is_tensor(x) else np.asarray(x)


def with_channels(x, name):
    """Return `x` as `(n, height, width, channels)`; ValueError, with a guess of what it is, for other shapes."""
    shape = x.shape
    if x.ndim not in (3, 4):
        advice = "Reshape first, for flat images for example x.reshape(-1, height, width, channels)"
    elif x.ndim == 3 and shape[-1] in (1, 3) and shape[0] > 4:
        advice = "It looks like one image: add a batch axis, x[None]"
    elif 0 in shape:
        advice = "Select at least one image with pixels"
    elif x.ndim == 4 and shape[1] in (1, 3) and shape[-1] > 4:
        advice = "It looks channels first: pass np.moveaxis(x, 1, -1)"
    else:
        return x[..., None] if x.ndim == 3 else x
    raise ValueError(
        f"{name}: got rank {x.ndim}, shape {shape}, expected (n, height, width, channels), or (n, height, width) "
        f"without channels. {advice}."
    )


def _as_uint8(x, levels, name):
    wanted = f"expected whole numbers in 0..{levels - 1}"
    if x.dtype.kind not in "iuf":
        raise ValueError(f"{name}: got dtype {x.dtype}, {wanted}. Convert them to uint8 first.")
    low, high = x.min(), x.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{name}: got NaN or infinite values, {wanted}. Remove those images.")
    for part in x if x.dtype.kind == "f" else ():  # all at once would take as much memory again
        if (fractions := part % 1 != 0).any():
            raise ValueError(
                f"{name}: got {x.dtype} values such as {float(part[fractions][0]):.4g} between {low:.4g} and "
                f"{high:.4g}, {wanted}. {_unscale(low, high, levels)}"
            )
    if low < 0 or high >= levels:
        raise ValueError(
            f"{name}: got values from {low:g} to {high:g}, {wanted}. Clip or rescale them, or state the right number "
            "of levels (at most 256)."
        )
    return x.astype(np.uint8, copy=False)


def _unscale(low, high, levels):
    """Return how floats with fractions were probably scaled, and how to undo it."""
    top = levels - 1
    if low >= -1 and high <= 1:
        least, x = (0, "x") if low >= 0 else (-1, "(x + 1) / 2")
        return f'They look scaled to {least}..1: pass ({x} * {top}).round().astype("uint8").'
    return f'Bring them back to 0..{top}: x.round().clip(0, {top}).astype("uint8").'
