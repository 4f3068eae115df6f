"""One small flow of each kind, off its start, and rows for them."""

import numpy as np
import pytest
from small_flows import glow, vectors


@pytest.fixture(scope="module")
def image_flow(perturb):
    return perturb(glow(input_shape=(8, 8, 1)))


@pytest.fixture(scope="module")
def class_flow(perturb):
    return perturb(glow(input_shape=(8, 8, 1), num_classes=3), scale=0.2)


@pytest.fixture(scope="module")
def vector_flow(perturb):
    flow = vectors()
    flow.build((None, 4))
    return perturb(flow, scale=0.3)


@pytest.fixture(scope="module")
def context_flow(perturb):
    flow = vectors("required")
    flow.build({"x": (None, 4), "context": (None, 2)})
    return perturb(flow, scale=0.3)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(20, 4)).astype("float32")


@pytest.fixture(scope="module")
def context():
    return np.random.default_rng(1).normal(size=(20, 2)).astype("float32")
