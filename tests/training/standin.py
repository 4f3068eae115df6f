"""A small model that trains as a Flow does: `call` returns log_prob, with new noise in each step."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="standin")
class Standin(keras.Model):
    """A diagonal normal whose parameters a network reads from noisy data."""

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.hidden = keras.layers.Dense(width, activation="tanh", name="hidden")
        self.shift = keras.layers.Dense(4, name="shift")
        self.noise = keras.random.SeedGenerator(3)

    def build(self, input_shape):
        self.hidden.build((None, 4))
        self.shift.build((None, self.width))
        self.built = True

    def call(self, x):
        x = ops.cast(x, "float32")
        z = x + keras.random.uniform(ops.shape(x), seed=self.noise)
        z = z - self.shift(self.hidden(ops.flip(z, axis=-1)))
        return -0.5 * ops.sum(z * z, -1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -ops.mean(y_pred)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def compiled(optimizer, *, width=8, jit_compile="auto", seed=0):
    """A built and compiled stand-in; the same seed gives the same weights."""
    keras.utils.set_random_seed(seed)
    model = Standin(width)
    model.build((None, 4))
    model.compile(optimizer=optimizer, jit_compile=jit_compile)
    return model


def rows(count=64, bad=()):
    """`count` rows of data; those listed in `bad` hold a NaN."""
    x = np.random.default_rng(0).normal(size=(count, 4)).astype("float32")
    x[list(bad), 0] = np.nan
    return x


def values(variables):
    return [ops.convert_to_numpy(variable).copy() for variable in variables]


def identical(first, second):
    """True where two lists of arrays are equal bit for bit."""
    return len(first) == len(second) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(first, second, strict=True)
    )
