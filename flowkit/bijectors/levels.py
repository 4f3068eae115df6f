"""The levels of a multi-scale flow: where they are in a bijector, and which latents belong to each."""

import math

from flowkit.bijectors.replay import smallest
from flowkit.contract import ContractError
from flowkit.contract.errors import shape_error
from flowkit.contract.shapes import as_tuple


def find_levels(bijector, wanted):
    """Return (the parts before, the `MultiScale` at the end): of a MultiScale itself, or of a Chain that ends in one.

    Raises ValueError, beginning with `wanted`, if the latents do not come in levels.
    """
    before, last = bijector.split_levels()
    if last is None:
        raise ValueError(
            f"{wanted}: got {type(bijector).__name__}, expected a flow whose bijector is a MultiScale, or a Chain that "
            "ends in one."
        )
    return before, last


def level_sizes(bijector, wanted):
    """Return how many latents each level has, in the order in which the levels leave."""
    _, multiscale = find_levels(bijector, wanted)
    return [math.prod(event) for event in multiscale.latent_events]


def level_shapes(multiscale, shape):
    """Return for each scale the shape (batch, *event) of its input, and that of the latents which leave after it.

    Raises ContractError if an axis of `shape` is unknown, or a scale cannot halve the image once more.
    """
    event, shapes = shape[1:], []
    if None in event:
        raise shape_error(multiscale, "every axis of the event known", shape)
    for level, scale in enumerate(multiscale.scales):
        try:
            _check_scale(scale, shape)
        except ContractError as error:
            raise _cannot_halve(multiscale, level, shape, event, error) from None
        given, shape = shape, as_tuple(scale.compute_output_shape(shape))
        if level < len(multiscale.scales) - 1:
            if shape[-1] % 2:
                expected = f"an even number of channels after scale {level + 1}, half of which leave"
                raise shape_error(multiscale, expected, shape)
            shape = (*shape[:-1], shape[-1] // 2)
        shapes.append((given, shape))
    return shapes


def _check_scale(scale, shape):
    """Raise ContractError if a scale, or a part of it, cannot take its input, for data of `shape`."""
    scale._check_shape(shape)
    for part in getattr(scale, "parts", [scale]):
        part._check_shape(shape)
        shape = as_tuple(part.compute_output_shape(shape))


def _cannot_halve(multiscale, level, shape, event, error):
    """Return the error for an `event` that is `shape` when the scale that cannot halve it is reached."""
    sizes = _sizes(multiscale, event)
    if level == 0:
        if error.clause != "event shape" or sizes is None:
            return error
        hint = f"Crop, pad or resize the images to {sizes}."
        expected, received = error.expected, error.received
        return ContractError(error.clause, multiscale, expected=expected, received=received, hint=hint)
    resize = f"crop, pad or resize the images to {sizes}" if sizes else "pad or resize the images"
    expected = f"an event that can be halved for {len(multiscale.scales)} scales"
    received = f"{event}, which is {shape[1:]} when scale {level + 1} is reached"
    hint = f"Use at most {level} level{'s' * (level > 1)}, or {resize}."
    return ContractError("levels", multiscale, expected=expected, received=received, hint=hint)


def _sizes(multiscale, event):
    """Return in words the nearest sizes that all scales can halve; None if there are none up to twice the image's."""
    if len(event) != 3 or any(scale.built for scale in multiscale.scales):  # built ones take a single size
        return None
    multiples = [part.spec.event_multiple for part in smallest(multiscale.scales)]
    multiple = math.prod(each[0] for each in multiples if each is not None)
    sides = event[:2]
    if not 1 < multiple <= 2 * max(sides):
        return None
    smaller = tuple(side - side % multiple for side in sides)
    larger = tuple(-(-side // multiple) * multiple for side in sides)
    near = " or ".join("x".join(map(str, size)) for size in (smaller, larger) if min(size))
    return f"{near} (multiples of {multiple})"
