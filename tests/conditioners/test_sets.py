"""Networks of sets and of contexts with gaps: no order, any size, masks, and files."""

import keras
import numpy as np
import pytest
from arrays import f64

from flowkit.conditioners import DeepSet, ObservedContext, RandomSizes

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


@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
@pytest.mark.parametrize("size", [False, True])
def test_what_is_masked_does_not_count(pooling, size):
    layer = DeepSet(3, hidden=[8], pooling=pooling, size=size)
    x = np.random.default_rng(0).normal(size=(2, 5, 2)).astype("float32")
    mask = np.array([[True, False, True, True, False]] * 2)
    np.testing.assert_allclose(f64(layer(x, mask=mask)), f64(layer(x[:, mask[0]])), atol=1e-5)
    assert np.isfinite(f64(layer(x, mask=np.zeros((2, 5), bool)))).all()
    if pooling == "mean":  # a set twice has the same mean
        twice = np.concatenate([x, x], axis=1)
        assert np.allclose(f64(layer(twice)), f64(layer(x)), atol=1e-5) != size


def test_gaps_and_padding_do_not_reach_a_network():
    """Statistics are those of the values that are there, and Keras's mask goes on to the next layer."""
    rng = np.random.default_rng(0)
    x, there = 50 + 3 * rng.normal(size=(400, 4, 2)), rng.random((400, 4, 2)) < 0.7
    seen, network = ObservedContext(), DeepSet(3, hidden=[8], size=True)
    model = keras.Sequential([keras.Input((4, 4)), seen, network])
    given, other = (
        np.concatenate([np.where(there, x, gap), there], axis=-1).astype("float32") for gap in (0, 7)
    )
    seen.adapt(given)
    y = f64(seen(given))
    np.testing.assert_allclose(y[..., :2][there], ((x - 50) / 3)[there], atol=0.3)
    assert (y[..., :2][~there] == 0).all()
    np.testing.assert_array_equal(y[..., 2:], there)
    np.testing.assert_allclose(f64(model(other)), f64(model(given)), atol=1e-5)
    padded = there.copy()
    padded[:, 2:] = False
    given = np.concatenate([np.where(padded, x, 0), padded], axis=-1).astype("float32")
    np.testing.assert_allclose(
        f64(model(given)), f64(network(seen(given[:, :2]), mask=padded[:, :2].any(-1))), atol=1e-5
    )


def test_training_takes_random_parts_of_sets():
    layer = RandomSizes((2, 4), seed=0)
    sets = np.ones((300, 6, 2), "float32")
    sets[:100, 3:] = 0  # of three rows
    assert (f64(layer(sets)) == sets).all()
    first, second = (f64(layer(sets, training=True))[..., 1] for _ in range(2))
    assert (first <= sets[..., 1]).all()
    counts = first.sum(axis=1)
    assert {*counts[:100]} == {2, 3}
    assert {*counts[100:]} == {2, 3, 4}
    assert (first != second).any()
    with pytest.raises(ValueError, match=r"sizes: got \[4, 2\], expected \(low, high\)"):
        RandomSizes((4, 2))
