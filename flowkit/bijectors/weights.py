"""What weights start from, drawn by numpy so that it is the same on every engine."""

import keras
import numpy as np
from keras import ops


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
