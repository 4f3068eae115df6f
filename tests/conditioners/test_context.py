"""How a context enters a network: labels, vectors, maps."""

import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit.conditioners import MLP, ConvNet
from flowkit.conditioners.context import ContextBias
from flowkit.contract import ContractError

pytestmark = pytest.mark.two_engines

EPSILON = np.finfo("float32").eps


def test_a_label_picks_its_row():
    layer = ContextBias(4, num_classes=3)
    labels = np.array([2, 0, 2])
    layer.build(labels.shape)
    bias = f64(layer(ops.convert_to_tensor(labels), rank=4))
    assert bias.shape == (3, 1, 1, 4)
    np.testing.assert_allclose(bias[:, 0, 0], f64(layer.kernel)[labels], atol=EPSILON)


@pytest.mark.parametrize(("shape", "expected"), [((3, 2), (3, 1, 1, 4)), ((3, 5, 5, 2), (3, 5, 5, 4))])
def test_a_vector_serves_every_place_and_a_map_each_its_own(shape, expected):
    layer = ContextBias(4)
    context = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer.build(shape)
    bias = f64(layer(ops.convert_to_tensor(context), rank=4))
    assert bias.shape == expected
    product = (context.astype("float64") @ f64(layer.kernel)).reshape(expected)
    np.testing.assert_allclose(bias, product, atol=8 * EPSILON * np.abs(context).max())


@pytest.mark.parametrize("shape", [(3, 5, 2), (3, 4), (3,)])
def test_a_context_of_another_shape_says_what_was_expected(shape):
    layer = ContextBias(4)
    layer.build((3, 2))
    with pytest.raises(ContractError) as caught:
        layer(ops.ones(shape), rank=4)
    assert "expected vectors (batch, 2), or one for each place, of rank 4" in str(caught.value)
    assert f"received shape {shape}. For integer labels" in str(caught.value)


NETS = {"mlp": (MLP, (2, 3)), "convnet": (ConvNet, (2, 4, 4, 3))}


@pytest.mark.parametrize("name", NETS)
def test_where_it_is_optional_it_may_be_left_out(name, perturb):
    kind, shape = NETS[name]
    net = kind([8, 8] if kind is MLP else 8, features=4, context="optional")
    net.build(shape, (2, 5))
    perturb(net, scale=0.5)
    x, context = ops.ones(shape), ops.ones((2, 5))
    without, with_zero, with_one = net(x), net(x, context=ops.zeros((2, 5))), net(x, context=context)
    np.testing.assert_allclose(f64(without), f64(with_zero), atol=16 * EPSILON)
    assert np.abs(f64(without) - f64(with_one)).max() > 1e-2
