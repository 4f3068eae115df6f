"""Convolutions that are fast in XLA's loops on CPU: in programs for gradients too, their axes have one order."""

import re

import keras
import numpy as np
import pytest

from flowkit import Flow
from flowkit.bijectors import Coupling, Repeat
from flowkit.conditioners import ConvNet
from flowkit.contract.conditioner import Conditioner
from flowkit.engines import engine

if engine.name != "jax":
    pytest.skip("other backends have no loops that are compiled", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax.test_util import check_grads

pytestmark = pytest.mark.one_engine

FAST = "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"
SIDE, CHANNELS = 4, 4


def convolve(x, kernel):
    return engine.convolve(x, kernel, jnp.zeros(kernel.shape[-1]))


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_both_modes_are_those_of_differences(order):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(3, 3, 3, 2))
    with jax.enable_x64(True):
        check_grads(convolve, (jnp.asarray(x), jnp.asarray(kernel)), order, modes=("fwd", "rev"))


def lowered(block):
    """The program for the gradients of a `Repeat` of two blocks, of images and of weights."""
    flow = Flow(Repeat(block, 2))
    images = np.random.default_rng(0).normal(size=(4, SIDE, SIDE, CHANNELS)).astype("float32")
    flow.adapt(images)

    def loss(weights, x):
        pairs = zip(flow.trainable_variables, weights, strict=True)
        with keras.StatelessScope(list(pairs)):
            return jnp.mean(flow(x))

    weights = [variable.value for variable in flow.trainable_variables]
    program = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return program.lower(weights, images).as_text()


def test_gradients_in_a_loop_have_the_order_that_is_fast():
    text = lowered(Coupling(ConvNet(8)))
    orders = set(re.findall(r"dim_numbers = (\S.*?->\[.*?\])", text))
    assert text.count("stablehlo.while") == 2  # one for each pass
    assert orders == {FAST}


class OfKeras(Conditioner):
    """A convolution layer of Keras as the network of a coupling."""

    def __init__(self, *, features=None, **kwargs):
        super().__init__(features=features, **kwargs)
        self.layer = keras.layers.Conv2D(1, 3, padding="same")

    def build(self, x_shape, context_shape=None):
        self.layer.filters = self.features
        self.layer.build(x_shape)

    def call(self, x, context=None):
        return self.layer(x)


def test_a_convolution_of_keras_is_in_no_loop():
    assert "stablehlo.while" not in lowered(Coupling(OfKeras()))
