"""Glow at the depth of the paper: 32 steps in each of 3 levels, in float32."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import zoo
from flowkit.engines import engine

EPS = 2.0**-23
ROUNDINGS = 64  # of the worst kind, as in flowkit.testing.tolerances
SHAPE = (16, 16, 3)


@pytest.fixture(scope="module")
def images():
    """Neighbours are alike, as in photographs, and not the same, which would leave channels without variance."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.uniform(30, 225, (32, 4, 4, 3)), np.ones((1, 4, 4, 1)))
    return np.clip(coarse + rng.normal(0, 10, coarse.shape), 0, 255).round().astype("uint8")


@pytest.fixture(scope="module")
def flow(images, perturb):
    keras.utils.set_random_seed(0)
    flow = zoo.glow(levels=3, steps=32, width=8)
    flow.adapt(images)
    return perturb(flow, 0.01)  # at 0.02 latents are in the thousands: noise on 96 steps adds up


def test_what_was_encoded_is_decoded(images, flow):
    def decode(z):
        return ops.convert_to_numpy(flow.bijector.inverse(ops.convert_to_tensor(z))[0])

    x = (images / 256 - 0.5).astype("float32")
    with engine.no_grad():
        z = ops.convert_to_numpy(flow.bijector(ops.convert_to_tensor(x))[0])
        # Rounding on the way there is carried back as far as the way back carries any other small change.
        push = np.random.default_rng(1).normal(0, 1e-3, z.shape).astype("float32")
        there, pushed = decode(z), decode(z + push)
    carried = np.abs(pushed - there).max() / np.abs(push).max()
    allowed = ROUNDINGS * EPS * (np.abs(x).max() + carried * np.abs(z).max())
    error = np.abs(there - x).max()
    assert error <= allowed < 1 / 256, (error, allowed)


def test_images_come_back_exactly(images, flow):
    np.testing.assert_array_equal(flow.decode(flow.encode(images)), images)
