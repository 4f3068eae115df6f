"""What a layer refreshes in a training step, under every objective."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Bijector, Flow
from flowkit.distributions import Normal
from flowkit.objectives import FlowMatching, MaximumLikelihood, ReverseKL


def numpy(tensor):
    return ops.convert_to_numpy(ops.stop_gradient(tensor)).astype("float64")


def standard_normal(x):
    return -0.5 * ops.sum(ops.square(x), axis=-1)


@keras.saving.register_keras_serializable("flowkit-tests")
class CountsSteps(Bijector):
    """z = x, with a velocity; counts how often it is refreshed, and keeps the mean that it saw."""

    def build(self, x_shape):
        self.steps = self.add_weight(shape=(), initializer="zeros", name="steps", trainable=False)
        self.seen = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="seen", trainable=False)
        self.rate = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="rate")

    def _forward(self, x):
        return x + 0.0 * self.rate, 0.0

    def _inverse(self, z):
        return z + 0.0 * self.rate, 0.0

    def velocity(self, x, t, context=None):
        return x * self.rate

    def _refresh(self, x):
        self.steps.assign(self.steps + 1)
        self.seen.assign(ops.mean(x, axis=0))


@pytest.mark.parametrize(
    "loss",
    [MaximumLikelihood(), FlowMatching(), ReverseKL(standard_normal), ReverseKL(standard_normal, False)],
)
def test_a_step_refreshes_once_on_data_or_on_draws(loss):
    flow = Flow(CountsSteps(), Normal(learn=True))
    flow.build((None, 2))
    flow.base.raw.assign(np.float32([[7, 7], [0, 0]]))
    flow.compile(keras.optimizers.SGD(0.0), loss=loss)
    x = np.random.default_rng(0).normal(5, 1, (64, 2)).astype("float32")
    given = {"x": x, "epochs": 3} if loss.needs_data else {"steps_per_epoch": 6}
    flow.fit(**given, batch_size=32, shuffle=False, verbose=0)
    assert float(numpy(flow.bijector.steps)) == 6
    if loss.needs_data:
        np.testing.assert_allclose(numpy(flow.bijector.seen), x[32:].mean(0), atol=1e-5)
    else:
        np.testing.assert_allclose(numpy(flow.bijector.seen), 7, atol=5 / math.sqrt(32))
