"""What flowkit puts in the place of Keras's own steps over all weights gives Keras's values."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import backends

REPLACED = ("_clip_gradients", "_update_model_variables_moving_average")


@pytest.mark.parametrize("name", REPLACED)
def test_keras_still_has_what_is_replaced(name):
    """A method of another name would be left alone without a word."""
    assert inspect.isfunction(getattr(keras.optimizers.Optimizer, name))
    written = [
        inspect.getsource(cls) for cls in keras.optimizers.Adam.__mro__ if cls.__module__.startswith("keras.")
    ]
    assert any(f"self.{name}(" in source for source in written)


@pytest.mark.skipif(not backends.SUPPORTS_TRAINING, reason="nothing is trained on this engine")
@pytest.mark.parametrize("norm", [0.1, 1e3])
def test_the_values_are_keras_own(norm):
    start = [np.arange(6.0, dtype="float32").reshape(2, 3), np.ones(4, "float32")]

    def train(replace):
        weights = [keras.Variable(value) for value in start]
        optimizer = keras.optimizers.SGD(0.1, global_clipnorm=norm, use_ema=True, ema_momentum=0.75)
        optimizer.build(weights)
        if replace:
            backends.use_multi_tensor(optimizer)
        for step in range(3):
            grads = [ops.convert_to_tensor(np.cos(value + step)) for value in start]
            optimizer.apply(grads, weights)
            optimizer._update_model_variables_moving_average(weights)
        averages = optimizer._model_variables_moving_average
        return [ops.convert_to_numpy(v) for v in (*weights, *averages)]

    for own, other in zip(train(replace=True), train(replace=False), strict=True):
        np.testing.assert_allclose(own, other, rtol=4 * np.finfo("float32").eps)
