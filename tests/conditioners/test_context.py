"""How a context enters a network: labels, vectors, maps, and sequences, by their mean or by cross-attention."""

import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit.bijectors import Autoregressive
from flowkit.conditioners import MLP, CausalTransformer, ConvNet, GatedAttention, PlacePrior, ViT
from flowkit.conditioners.context import ContextBias
from flowkit.contract import ContractError
from flowkit.transforms import Gaussian

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


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.one_engine
def test_a_sequence_is_heard_in_any_order(perturb):
    net = ViT(8, depth=1, heads=2, features=4, context="required")
    context, x = numbers(3, 5, 2), ops.convert_to_tensor(numbers(3, 2, 2, 3))
    net.build(x.shape, context.shape)
    perturb(net, scale=0.5)
    heard = f64(net(x, context=ops.convert_to_tensor(context)))
    turned = f64(net(x, context=ops.convert_to_tensor(context[:, ::-1].copy())))
    np.testing.assert_allclose(heard, turned, atol=1e-5)
    assert np.abs(heard - f64(net(x, context=ops.convert_to_tensor(2 * context)))).max() > 1e-2


@pytest.mark.one_engine
@pytest.mark.parametrize("places", [5, 6])  # 6: as many as the image has
@pytest.mark.parametrize("order", [None, "reversed"])
def test_a_sequence_beside_an_image_is_no_map(places, order, perturb):
    layer = Autoregressive(
        CausalTransformer(8, depth=1, heads=2, context="required"), Gaussian(), order=order
    )
    x, context = numbers(3, 2, 3, 2), numbers(3, places, 4)
    layer.build_for(x.shape, context.shape)
    perturb(layer)
    z, _ = layer(x, context=context)
    turned, _ = layer(x, context=context[:, ::-1].copy())
    np.testing.assert_allclose(f64(z), f64(turned), rtol=1e-4, atol=1e-5)
    assert np.abs(f64(z) - f64(layer(x, context=2 * context)[0])).max() > 1e-3
    back, _ = layer.inverse(z, context=context)
    np.testing.assert_allclose(f64(back), x, atol=1e-4)


def built(perturb, context, **options):
    net = GatedAttention(4, blocks=1, heads=2, features=4, context="required", **options)
    net.build((3, 2, 2, 3), context.shape)
    return perturb(net, scale=0.5)


def heard(net, context):
    return f64(net(ops.convert_to_tensor(numbers(3, 2, 2, 3)), context=ops.convert_to_tensor(context)))


@pytest.mark.one_engine
def test_labels_are_heard_row_by_row(perturb):
    labels = np.array([0, 2, 1], "int32")
    net = built(perturb, labels, num_classes=3)
    found, other = heard(net, labels), heard(net, np.array([0, 1, 1], "int32"))
    np.testing.assert_allclose(found[[0, 2]], other[[0, 2]], atol=1e-6)
    assert np.abs(found[1] - other[1]).max() > 1e-3


@pytest.mark.one_engine
def test_a_sequence_is_heard_by_its_mean(perturb):
    sequence = numbers(3, 5, 2)
    net = built(perturb, sequence)
    np.testing.assert_allclose(heard(net, sequence), heard(net, sequence.mean(axis=1)), atol=1e-5)
    assert np.abs(heard(net, sequence) - heard(net, 2 * sequence)).max() > 1e-3


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
