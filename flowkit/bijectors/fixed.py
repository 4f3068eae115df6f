"""Values that layers are made with: drawn by numpy, the same on every engine, and kept as weights."""

import keras
import numpy as np
from keras import ops


def rng(seed):
    """A numpy generator, so that initial values are the same on every engine; None takes Keras's own seed."""
    if seed is None:
        seed = keras.initializers.RandomNormal().seed  # Keras's own default seed
    return np.random.default_rng(seed)


def fixed_weight(layer, name, value, dtype=None):
    """A non-trainable weight that holds `value`, a numpy array."""
    return layer.add_weight(
        shape=value.shape,
        initializer=lambda shape, dtype: ops.convert_to_tensor(np.array(value), dtype=dtype),
        dtype=dtype,
        name=name,
        trainable=False,
    )
