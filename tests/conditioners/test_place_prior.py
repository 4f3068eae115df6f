"""PlacePrior: a number for each place, and for each class."""

import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import MultiScale, Squeeze
from flowkit.conditioners import PlacePrior

pytestmark = pytest.mark.two_engines

EPSILON = np.finfo("float32").eps


def test_it_answers_what_its_table_holds():
    prior, z = PlacePrior(num_classes=3), np.zeros((4, 2, 3, 5), "float32")
    labels = np.array([2, 0, 1, 2])
    assert tuple(prior(z, context=labels).shape) == prior.compute_output_shape(z.shape) == (4, 2, 3, 10)
    table = np.random.default_rng(0).normal(size=(3, 2, 3, 10)).astype("float32")
    prior.table.assign(table)
    np.testing.assert_array_equal(ops.convert_to_numpy(prior(z, context=labels)), table[labels])


def test_without_classes_it_answers_once_for_all_samples():
    prior = PlacePrior()
    assert prior.context == "none"
    assert tuple(prior(np.zeros((4, 2, 3, 5), "float32")).shape) == (1, 2, 3, 10)


def test_latents_are_whitened_place_by_place():
    x = np.random.default_rng(1).normal(size=(3, 4, 4, 1)).astype("float32")
    flow = MultiScale([Squeeze()], top_prior=PlacePrior())
    before, _ = flow(x)
    table = np.random.default_rng(0).normal(size=(1, 2, 2, 8)).astype("float32")
    flow.top_prior.table.assign(table)
    mean, logs = (half.reshape(-1).astype("float64") for half in (table[..., :4], table[..., 4:]))
    z, log_det = flow(x)
    expected = (ops.convert_to_numpy(before) - mean) * np.exp(-logs)
    np.testing.assert_allclose(ops.convert_to_numpy(z), expected, atol=8 * EPSILON * np.abs(expected).max())
    np.testing.assert_allclose(
        ops.convert_to_numpy(log_det), np.full(3, -logs.sum()), atol=16 * EPSILON * np.abs(logs).sum()
    )
