"""Samples and latents: each context has its own, seeds repeat them, and their density is the flow's."""

import math

import numpy as np
from tolerance import PARITY

from flowkit import Flow
from flowkit.bijectors import Shift


def test_the_density_of_samples_knows_nothing_of_their_temperature(vector_flow):
    x, log_prob = vector_flow.sample_and_log_prob(30, temperature=0.5, seed=1, batch_size=7)
    # x is rounded on the way back, and scales down to sigmoid(1) magnify that a little.
    np.testing.assert_allclose(log_prob, vector_flow.log_prob(x), rtol=10 * PARITY, atol=10 * PARITY)


def test_the_density_of_sampled_images_is_that_of_the_images(image_flow):
    x, log_prob = image_flow.sample_and_log_prob(4, seed=1)
    assert x.dtype == np.uint8
    np.testing.assert_allclose(log_prob, image_flow.log_prob(x), rtol=PARITY)


def test_temperature_0_gives_the_mode_of_the_latents(image_flow, vector_flow):
    samples = image_flow.sample(3, temperature=0.0)
    np.testing.assert_array_equal(samples, image_flow.decode(np.zeros((3, 64), "float32")))
    samples = vector_flow.sample(500, temperature=0.1, seed=0), vector_flow.sample(500, seed=0)
    assert samples[0].std() < samples[1].std()


def test_one_process_alone_has_nobody_to_spread_samples_over(image_flow, class_flow):
    labels = np.array([0, 2])
    for flow, context in ((image_flow, None), (class_flow, labels)):
        alone = flow.sample(5, context, seed=1)
        np.testing.assert_array_equal(flow.sample(5, context, seed=1, spread=True), alone)


def test_samples_follow_the_density():
    """Under z = x + 1 samples are normal around -1."""
    flow = Flow(Shift(1.0))
    flow.build((None, 2))
    x = flow.sample(20_000, seed=0)
    bound = 5 / math.sqrt(40_000)  # 5 standard errors
    assert abs(x.mean() + 1) < bound
    assert abs(x.std() - 1) < bound


def test_no_sample_and_no_row_is_not_an_error(vector_flow, context_flow, image_flow, x, context):
    images = image_flow.sample(0)
    assert images.shape == (0, 8, 8, 1)
    assert image_flow.log_prob(images).shape == (0,)
    assert image_flow.decode(image_flow.encode(images)).shape == (0, 8, 8, 1)
    assert vector_flow.log_prob(x[:0]).shape == (0,)
    assert vector_flow.sample(0).shape == (0, 4)
    assert context_flow.sample(0, context[:5]).shape == (0, 5, 4)
