"""Samples and latents: each context has its own, seeds repeat them, and their density is the flow's."""

import math

import numpy as np
import pytest
from small_flows import glow
from tolerance import PARITY

from flowkit import Flow
from flowkit.bijectors import Shift


def test_decode_of_encode_of_digits(perturb):
    flow = perturb(glow(levels=1, data_levels=17, input_shape=(8, 8, 1)))
    digits = np.random.default_rng(0).integers(0, 17, (6, 8, 8, 1), dtype="uint8")
    np.testing.assert_array_equal(flow.decode(flow.encode(digits)), digits)
    assert flow.sample(5, seed=0).max() <= 16


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_density_of_samples_is_that_of_the_flow(vector_flow, context_flow, context, temperature):
    x, log_prob = vector_flow.sample_and_log_prob(30, temperature=temperature, seed=1, batch_size=7)
    assert (x.shape, log_prob.shape) == ((30, 4), (30,))
    # x is rounded on the way back, and scales down to sigmoid(1) magnify that a little.
    np.testing.assert_allclose(log_prob, vector_flow.log_prob(x), rtol=10 * PARITY, atol=10 * PARITY)
    x, log_prob = context_flow.sample_and_log_prob(3, context[:5], seed=1)
    assert (x.shape, log_prob.shape) == ((3, 5, 4), (3, 5))
    for draw in range(3):
        np.testing.assert_allclose(
            log_prob[draw], context_flow.log_prob(x[draw], context[:5]), rtol=10 * PARITY, atol=10 * PARITY
        )


def test_the_density_of_sampled_images_is_that_of_the_images(image_flow):
    x, log_prob = image_flow.sample_and_log_prob(4, seed=1)
    assert x.dtype == np.uint8
    np.testing.assert_allclose(log_prob, image_flow.log_prob(x), rtol=PARITY)


def test_a_context_is_paired_with_its_own_samples(context_flow, context):
    """Row j of every draw belongs to context j: at temperature 0 each is its context's mode."""
    x = context_flow.sample(2, context[:5], temperature=0.0)
    for j in range(5):
        alone = context_flow.sample(1, context[j : j + 1], temperature=0.0)
        for draw in range(2):
            np.testing.assert_allclose(x[draw, j], alone[0, 0], rtol=10 * PARITY, atol=10 * PARITY)


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


def test_without_a_seed_each_call_draws_anew(vector_flow):
    assert (vector_flow.sample(5) != vector_flow.sample(5)).any()


def test_samples_follow_the_density():
    """Under z = x + 1 samples are normal around -1."""
    flow = Flow(Shift(1.0))
    flow.build((None, 2))
    x = flow.sample(20_000, seed=0)
    bound = 5 / math.sqrt(40_000)  # 5 standard errors
    assert abs(x.mean() + 1) < bound
    assert abs(x.std() - 1) < bound


def test_no_sample_and_no_row_is_not_an_error(vector_flow, context_flow, image_flow, x, context):
    assert image_flow.sample(0).shape == (0, 8, 8, 1)
    assert vector_flow.log_prob(x[:0]).shape == (0,)
    assert vector_flow.sample(0).shape == (0, 4)
    assert context_flow.sample(0, context[:5]).shape == (0, 5, 4)
