"""How a context enters the networks of Flow++: labels as learned vectors, a sequence by its mean."""

import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit.conditioners import GatedAttention

pytestmark = pytest.mark.one_engine

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 2, 2, 3)).astype("float32")


def built(perturb, context, **options):
    net = GatedAttention(4, blocks=1, heads=2, features=4, context="required", **options)
    net.build(X.shape, context.shape)
    return perturb(net, scale=0.5)


def heard(net, context):
    return f64(net(ops.convert_to_tensor(X), context=ops.convert_to_tensor(context)))


def test_labels_are_heard_row_by_row(perturb):
    labels = np.array([0, 2, 1], "int32")
    net = built(perturb, labels, num_classes=3)
    found, other = heard(net, labels), heard(net, np.array([0, 1, 1], "int32"))
    np.testing.assert_allclose(found[[0, 2]], other[[0, 2]], atol=1e-6)
    assert np.abs(found[1] - other[1]).max() > 1e-3


def test_a_sequence_is_heard_by_its_mean(perturb):
    sequence = RNG.normal(size=(3, 5, 2)).astype("float32")
    net = built(perturb, sequence)
    np.testing.assert_allclose(heard(net, sequence), heard(net, sequence.mean(axis=1)), atol=1e-5)
    assert np.abs(heard(net, sequence) - heard(net, 2 * sequence)).max() > 1e-3
