"""What weights start from, drawn by numpy so that it is the same on every engine, and scales made of them."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from flowkit.engines import engine


def rng(seed):
    """Return a numpy generator, so that initial values are the same on every engine; None takes Keras's own seed."""
    if seed is None:
        seed = keras.initializers.RandomNormal().seed  # Keras's own default seed
    return np.random.default_rng(seed)


def new_weight(layer, name, value, *, trainable=True, dtype=None):
    """Add a weight to `layer` that starts at `value`, a numpy array."""
    return layer.add_weight(
        shape=value.shape,
        initializer=lambda shape, dtype: ops.convert_to_tensor(np.array(value), dtype=dtype),
        dtype=dtype,
        name=name,
        trainable=trainable,
    )


FLOOR = 1e-3
_UNIT = math.log(math.expm1(1))  # softplus of it is 1


def scale(raw: Any) -> Any:
    """Return FLOOR + (1 - FLOOR) softplus(raw + c): above FLOOR, 1 at 0, and about raw if that is large.

    >>> float(scale(ops.zeros(())))
    1.0
    """
    return FLOOR + (1 - FLOOR) * engine.softplus(raw + _UNIT)


def raw_scale(value: np.ndarray) -> np.ndarray:
    """Return the raw numbers of which `scale` makes `value`, a numpy array above FLOOR."""
    return np.log(np.expm1((value - FLOOR) / (1 - FLOOR))) - _UNIT
