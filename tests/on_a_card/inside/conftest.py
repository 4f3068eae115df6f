"""Flows to be used on the card."""

import keras
import numpy as np
import pytest

from flowkit import training, zoo

SHAPE = (8, 8, 1)


@pytest.fixture(scope="session")
def glow():
    """Make a small Glow, compiled to train with an optimizer that clips and averages."""

    def make(optimizer=None, **options):
        keras.utils.set_random_seed(0)
        flow = zoo.glow(**{"levels": 2, "steps": 2, "width": 8, "input_shape": SHAPE, **options})
        optimizer = optimizer or keras.optimizers.Adam(1e-3, use_ema=True, global_clipnorm=50.0)
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):  # which is guarded inside
            optimizer = training.GuardedOptimizer(optimizer)
        flow.compile(optimizer=optimizer)
        return flow

    return make


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(1).integers(0, 256, (32, *SHAPE), dtype="uint8")


@pytest.fixture(scope="session")
def labels():
    return np.arange(32) % 4


@pytest.fixture(scope="session")
def fitted(glow, images):
    flow = glow()
    flow.fit(images, batch_size=16, verbose=0)
    return flow
