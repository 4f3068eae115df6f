"""What flowkit puts in the place of Keras's own steps over all weights gives Keras's values."""

import copy
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


def moved(optimizer, replace, steps=3):
    """Weights and averages after some steps with gradients whose memory has another order than the weights'."""
    start = [np.arange(6.0, dtype="float32").reshape(2, 3), np.ones(4, "float32")]
    weights = [keras.Variable(value) for value in start]
    optimizer.build(weights)
    if replace:
        backends.use_multi_tensor(optimizer)
    for step in range(steps):
        grads = [ops.transpose(ops.convert_to_tensor(np.cos(value.T + step))) for value in start]
        optimizer.apply(grads, weights)
        optimizer._update_model_variables_moving_average(weights)
    averages = optimizer._model_variables_moving_average if optimizer.use_ema else []
    return [ops.convert_to_numpy(v) for v in (*weights, *averages)]


@pytest.mark.skipif(not backends.SUPPORTS_TRAINING, reason="nothing is trained on this engine")
@pytest.mark.parametrize("norm", [0.1, 1e3])
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("SGD", {}),
        # In float32, Keras's 1 - beta_2^t loses four digits for its default beta_2 of 0.999: see the next test.
        ("Adam", {"beta_2": 0.8}),
        ("Adam", {"beta_2": 0.8, "epsilon": 1e-2, "beta_1": 0.5}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {"beta_2": 0.8, "weight_decay": 0.1}),
        ("Adamax", {}),
    ],
)
def test_the_values_are_keras_own(name, more, norm):
    def train(replace):
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
        make = getattr(keras.optimizers, name)
        averaging = {"use_ema": True, "ema_momentum": 0.75}
        return moved(make(schedule, global_clipnorm=norm, **averaging, **more), replace)

    for own, other in zip(train(replace=True), train(replace=False), strict=True):
        np.testing.assert_allclose(own, other, rtol=8 * np.finfo("float32").eps, atol=1e-7)


@pytest.mark.skipif(backends.name() != "torch", reason="the other engines take Keras's steps")
def test_adam_by_default_is_as_exact_as_float32_allows():
    weights = moved(keras.optimizers.Adam(0.1), replace=True)
    exact = [np.arange(6.0).reshape(2, 3), np.ones(4)]
    grads = [np.cos(exact[i] + step) for step in range(3) for i in range(2)]
    m, v = [0.0, 0.0], [0.0, 0.0]
    for step in range(3):
        rate = 0.1 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        for i in range(2):
            g = grads[2 * step + i]
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g**2
            exact[i] = exact[i] - rate * m[i] / (np.sqrt(v[i]) + 1e-7)
    for own, other in zip(weights, exact, strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-6)


@pytest.mark.skipif(not backends.SUPPORTS_TRAINING, reason="nothing is trained on this engine")
def test_an_optimizer_of_ones_own_stays_as_written():
    class Still(keras.optimizers.SGD):
        def _backend_update_step(self, grads, trainable_variables, learning_rate):
            """Moves nothing."""

    weights = moved(Still(0.1), replace=True)
    np.testing.assert_array_equal(weights[0], np.arange(6.0).reshape(2, 3))


def test_a_copy_of_an_optimizer_has_methods_of_its_own():
    optimizer = keras.optimizers.Adam()
    backends.use_multi_tensor(optimizer)
    twin = copy.deepcopy(optimizer)
    for name in REPLACED:
        assert getattr(twin, name).__self__ is twin
