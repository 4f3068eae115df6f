"""PlacePrior: a number for each place, and for each class."""

import numpy as np
import pytest
from keras import ops

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
