"""Glow's Adamax against the published formula, evaluated step by step in float64 numpy."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import training

STEPS = 30


def published(w, gradients, rate, b1, b2, epsilon=1e-8):
    """The weights after each step, by the formula."""
    m, u, path = np.zeros_like(w), np.zeros_like(w), []
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g))
        w = w - rate(t) * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (u + epsilon)
        path.append(w)
    return np.array(path)


@pytest.mark.parametrize("b2", [0.75, 1 - 1 / 782])
@pytest.mark.parametrize("warmup", [0, 10])
def test_each_step_is_the_published_one(b2, warmup):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5,))
    # Sizes from 1e-6 to 1, so that epsilon shows and the maximum decays in some entries.
    gradients = rng.normal(size=(STEPS, 5)) * 10.0 ** rng.uniform(-6, 0, size=(STEPS, 5))
    expected = published(start, gradients, lambda t: 1e-2 * min(1, t / max(warmup, 1)), b1=0.9, b2=b2)

    weight = keras.Variable(start.astype("float32"))
    optimizer = training.GlowAdamax(training.WarmUp(1e-2, warmup_steps=warmup), beta_2=b2)
    path = []
    for g in gradients.astype("float32"):
        optimizer.apply([ops.convert_to_tensor(g)], [weight])
        path.append(ops.convert_to_numpy(weight).copy())

    # Each step carries some 20 roundings of its own size, and rounds the weight once.
    steps = np.abs(np.diff(expected, axis=0, prepend=start[None]))
    atol = STEPS * np.finfo("float32").eps * (20 * steps.max() + np.abs(expected).max())
    np.testing.assert_allclose(path, expected, rtol=0, atol=atol)
