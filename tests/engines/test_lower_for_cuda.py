"""A training step for an NVIDIA GPU, as far as JAX gets without one: to the program that XLA would compile."""

import re

import keras
import numpy as np
import pytest

from flowkit import training, zoo
from flowkit.engines import engine

pytestmark = pytest.mark.skipif(engine.name != "jax", reason="asks JAX for its programs")


def program(steps, backprop):
    """What one training step of a small Glow becomes, with 2 levels and `steps` a level."""
    import jax

    flow = zoo.glow(levels=2, steps=steps, width=4, backprop=backprop, input_shape=(8, 8, 3))
    adam = keras.optimizers.Adam(1e-3, use_ema=True, global_clipnorm=50.0)
    flow.compile(training.GuardedOptimizer(adam))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype("uint8")
    flow.adapt(images)
    flow.optimizer.build(flow.trainable_variables)
    state = (
        flow.trainable_variables,
        flow.non_trainable_variables,
        flow.optimizer.variables,
        flow.metrics_variables,
    )
    values = tuple([variable.value for variable in some] for some in state)
    traced = jax.jit(flow.train_step).trace(values, (images, None, None))
    return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("backprop", ["stored", "recompute"])
@pytest.mark.long
def test_depth_adds_no_networks_to_the_program(backprop):
    few, many = (program(steps, backprop) for steps in (2, 4))
    assert few.count("stablehlo.while") == many.count("stablehlo.while") == 4  # both ways through two levels
    assert few.count("stablehlo.convolution") == many.count("stablehlo.convolution") > 0


@pytest.mark.long
def test_networks_in_bfloat16_convolve_in_it(policy):
    policy("mixed_bfloat16")
    types = re.findall(r"stablehlo\.convolution.*-> tensor<[0-9x]*(\w+)>", program(2, "stored"))
    assert "bf16" in types
