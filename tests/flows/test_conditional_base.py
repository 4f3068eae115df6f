"""A base of the user's own that depends on the context: it is built with the flow, which knows its classes."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow, LabelledFlow
from flowkit.bijectors import Shift
from flowkit.contract import ContractError
from flowkit.distributions import Normal

pytestmark = pytest.mark.two_engines


class Placed(Normal):
    """A normal distribution whose mean a network reads off the context; builds it only if asked for `z_shape` alone."""

    context = "required"

    def __init__(self):
        super().__init__()
        self.mean = keras.layers.Dense(2, bias_initializer="ones")

    def log_prob(self, z, context=None):
        return super().log_prob(z - self.mean(context))


class OfClasses(Normal):
    context = "required"
    num_classes = 3

    def build(self, z_shape):
        self.means = self.add_weight(shape=(3, z_shape[-1]), initializer="random_normal", name="means")

    def log_prob(self, z, context=None):
        return super().log_prob(z - ops.take(self.means, context, axis=0))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 2)).astype("float32")


def test_weights_that_a_file_would_lose_are_refused():
    flow = Flow(Shift(0.0), Placed())
    with pytest.raises(ValueError, match=r"would lose them.*build\(self, z_shape, context_shape\)"):
        flow.build({"x": (None, 2), "context": (None, 5)})


def test_its_classes_are_the_flows(x, context):
    flow = Flow(Shift(0.0), OfClasses())
    assert flow.num_classes == 3
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert flow.log_prob(x, labels).shape == (6,)
    with pytest.raises(ContractError, match=r"labels \(batch,\) in 0\.\.2"):
        flow.log_prob(x, labels + 1)


def test_a_classifier_beside_it_takes_its_classes(x):
    flow = LabelledFlow(Shift(0.0), OfClasses())
    flow.build({"x": (None, 2), "context": (None,)})
    np.testing.assert_allclose(np.exp(flow.label_log_prob(x)), 1 / 3, rtol=1e-5)
