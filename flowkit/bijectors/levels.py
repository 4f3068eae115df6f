"""The levels of a multi-scale flow: where they are in a bijector, and which latents belong to each."""

import math

import numpy as np
from keras import ops

from flowkit.contract import ContractError
from flowkit.contract.errors import shape_error
from flowkit.contract.shapes import as_tuple


def find_levels(bijector, wanted):
    """Return (the parts before, the `MultiScale` at the end): of a MultiScale itself, or of a Chain that ends in one.

    Raises ValueError, which begins with what was `wanted`, if the latents do not come in levels.
    """
    before, last = bijector.split_levels()
    if last is None:
        raise ValueError(
            f"{wanted}: expected a flow whose bijector is a MultiScale, or a Chain that ends in one, "
            f"received {type(bijector).__name__}."
        )
    return before, last


def level_sizes(bijector, wanted):
    """Return how many latents each level has, in the order in which the levels leave."""
    _, multiscale = find_levels(bijector, wanted)
    return [math.prod(event) for event in multiscale.latent_events]


def per_latent(bijector, temperature):
    """Expand per-level temperatures to one factor per latent, (dim,); a single number stays one.

    Raises ValueError for negative numbers, and for as many as there are not levels.
    """
    try:
        values = np.asarray(temperature, "float32")
    except (TypeError, ValueError):  # words, or a ragged list
        values = np.float32("nan")
    if values.ndim > 1 or not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(
            f"temperature: expected a number from 0 up, or one for each level, received {temperature!r}."
        )
    if values.ndim == 0:
        return temperature
    sizes = level_sizes(bijector, "temperature, a sequence")
    if len(values) != len(sizes):
        raise ValueError(
            f"temperature: expected a number, or one for each of {len(sizes)} levels, received {len(values)}."
        )
    return ops.convert_to_tensor(np.repeat(values, sizes), dtype=bijector.compute_dtype)


def level_shapes(multiscale, shape):
    """Return for each scale the shape (batch, *event) of its input, and that of the latents which leave after it.

    Raises ContractError if an axis of `shape` is unknown, or a scale cannot halve the image once more.
    """
    event, shapes = shape[1:], []
    if None in event:
        raise shape_error(multiscale, "every axis of the event known", shape)
    for level, scale in enumerate(multiscale.scales):
        _check_level(multiscale, level, shape, event)
        given, shape = shape, as_tuple(scale.compute_output_shape(shape))
        if level < len(multiscale.scales) - 1:
            if shape[-1] % 2:
                expected = f"an even number of channels after scale {level + 1}, half of which leave"
                raise shape_error(multiscale, expected, shape)
            shape = (*shape[:-1], shape[-1] // 2)
        shapes.append((given, shape))
    return shapes


def _check_level(multiscale, level, shape, event):
    try:
        multiscale.scales[level]._check_shape(shape)
    except ContractError as error:
        if level == 0:
            raise
        wanted = f"an event that can be halved for {len(multiscale.scales)} scales"
        received = f"{event}, which is {shape[1:]} when scale {level + 1} is reached"
        hint = f"Use at most {level} levels, or pad or resize the images."
        raise ContractError("levels", multiscale, expected=wanted, received=received, hint=hint) from error
