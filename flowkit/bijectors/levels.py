"""The levels of a multi-scale flow: where they are in a bijector, and which latents are whose."""

import math

import numpy as np
from keras import ops


def find_levels(bijector, wanted):
    """(the parts before, the `MultiScale` at the end): of a MultiScale itself, or of a Chain that ends in one.

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
    """How many latents each level has, in the order in which the levels leave."""
    _, multiscale = find_levels(bijector, wanted)
    return [math.prod(event) for event in multiscale.latent_events]


def per_latent(bijector, temperature):
    """Expand per-level temperatures to one factor per latent, (dim,); a single number stays one.

    Raises ValueError for negative numbers, and for as many as there are not levels.
    """
    values = np.asarray(temperature, "float32")
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
