"""A base density of the user's own: used, built with the flow, told the context."""

import math

import numpy as np
import pytest
from keras import ops
from tolerance import PARITY

from flowkit import Flow
from flowkit.bijectors import Shift, Squeeze
from flowkit.distributions import Normal

pytestmark = pytest.mark.two_engines


def test_an_own_base_is_used(x):
    class Wide(Normal):
        def log_prob(self, z, context=None):
            return super().log_prob(z / 2) - z.shape[-1] * math.log(2)

    flow = Flow(Shift(0.0), Wide())
    expected = -0.5 * ((x / 2) ** 2 + np.log(2 * np.pi)).sum(1) - 4 * np.log(2)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=PARITY)


def test_a_base_has_its_weights_when_the_flow_is_built():
    class Scaled(Normal):
        def build(self, z_shape):
            self.log_scale = self.add_weight(shape=z_shape[1:], initializer="zeros", name="log_scale")

        def log_prob(self, z, context=None):
            moved = z * ops.exp(-ops.convert_to_tensor(self.log_scale))
            return super().log_prob(moved) - ops.sum(self.log_scale)

    flow = Flow(Squeeze(), Scaled())
    flow.build((None, 4, 4, 3))
    assert [tuple(w.shape) for w in flow.base.weights] == [(2, 2, 12)]
