"""Share code among families of images: check the shape, dequantise, move pixels to where networks read them, build."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

from flowkit.bijectors import Equalize, Scale
from flowkit.contract.arguments import LARGEST, shown, whole_number
from flowkit.data.dequantize import Dequantize

EDGE = 0.5 / 0.9  # so that [-1/2, 1/2] becomes [0.05, 0.95] before the logit


def image_shape(value: Any, name: str) -> tuple[int, ...]:
    """Return the shape of an image. Raises ValueError unless it is (height, width, channels)."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"{name}: expected (height, width, channels), received {shown(value)}.")
    return tuple(whole_number(side, f"each of {name}", least=1, most=LARGEST) for side in value)


ImageShape = Annotated[Sequence[int], image_shape]


def dequantizer(n_bits: int | None, data_levels: int | None) -> Dequantize | None:
    """Return the dequantizer of stored images; None for continuous ones, which have neither number."""
    return None if n_bits is None and data_levels is None else Dequantize(n_bits, levels=data_levels)


def entrance(dequantize: Any, equalize: bool) -> Equalize | Scale:
    """Return the first layer of pixels from -1/2 to 1/2: by their histogram, or a scale to [-1, 1]."""
    return Equalize(getattr(dequantize, "levels", 256)) if equalize else Scale(math.log(2))


def built(flow: Any, input_shape: Sequence[int] | None, num_classes: int | None) -> Any:
    """Return `flow` with weights for images of `input_shape`, given labels if it has classes; as it is for None."""
    if input_shape is not None:
        images = (None, *input_shape)
        flow.build(images if num_classes is None else {"x": images, "context": (None,)})
    return flow
