"""A network of sets: no order, any size, and files."""

import keras
import numpy as np
import pytest
from arrays import f64

from flowkit.conditioners import DeepSet

pytestmark = pytest.mark.two_engines


@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_the_order_does_not_count(pooling):
    layer = DeepSet(3, hidden=[8, 4], pooling=pooling)
    x = np.random.default_rng(0).normal(size=(2, 5, 2)).astype("float32")
    y = f64(layer(x))
    assert y.shape == (2, 3) == layer.compute_output_shape(x.shape)
    np.testing.assert_allclose(f64(layer(x[:, ::-1])), y, atol=1e-5)
    twice = f64(layer(np.concatenate([x, x], axis=1)))  # a set of another size
    assert np.allclose(twice, y, atol=1e-5) == (pooling != "sum")
    again = DeepSet.from_config(layer.get_config())
    again.build(x.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(f64(again(x)), y, atol=1e-6)


def test_vectors_are_refused():
    with pytest.raises(
        ValueError, match=r"DeepSet: got inputs of shape \(2, 3\), expected sets \(batch, n, k\)"
    ):
        DeepSet()(keras.ops.ones((2, 3)))
