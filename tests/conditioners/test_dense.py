"""Dense layers in one call of the engine: the values of Keras's own, whatever is asked of them."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit.conditioners import MADE, ResidualMADE, ResidualMLP
from flowkit.conditioners.context import ContextBias
from flowkit.conditioners.mlp import Dense
from flowkit.conditioners.scaled import ScaledDense
from flowkit.engines import engine

EPSILON = np.finfo("float32").eps


def dense(perturb, units=6, **options):
    layer = Dense(units, **options)
    layer.build((None, 5))
    return perturb(layer, scale=0.5)


def same(received, wanted, units):
    """Equal up to so many units of rounding of numbers of about 1."""
    received, wanted = ops.convert_to_numpy(received), ops.convert_to_numpy(wanted)
    np.testing.assert_allclose(received, wanted, rtol=0, atol=units * EPSILON)


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("shape", [(7, 5), (7, 3, 5), (0, 5)])
def test_it_has_the_values_of_kerass_layer(perturb, shape):
    layer, x = dense(perturb), numbers(*shape)
    own = keras.layers.Dense.call(layer, ops.convert_to_tensor(x))
    same(layer.call(ops.convert_to_tensor(x)), own, 16)


@pytest.mark.parametrize("make", [Dense, ScaledDense, ContextBias])
def test_dense_layers_keep_float64(make, perturb):
    x = np.random.default_rng(0).normal(size=(4, 3))
    with engine.float64():
        layer = make(5)
        layer.build(x.shape)
        perturb(layer)
        given = ops.convert_to_tensor(x, dtype="float64")
        y = ops.convert_to_numpy(layer(given, rank=2) if make is ContextBias else layer(given))
    kernel, bias, logs = (
        ops.convert_to_numpy(w)
        for w in (*layer.weights, *(np.zeros(5) for _ in range(3 - len(layer.weights))))
    )
    expected = (x @ kernel + bias) * np.exp(3 * logs)
    np.testing.assert_allclose(y, expected, rtol=64 * np.finfo("float64").eps)


def test_low_rank_weights_count(perturb):
    layer, x = dense(perturb), ops.convert_to_tensor(numbers(7, 5))
    before = ops.convert_to_numpy(layer.call(x))
    layer.enable_lora(2, b_initializer="glorot_uniform")
    after = ops.convert_to_numpy(layer.call(x))
    assert np.abs(after - before).max() > 0.01
    same(after, keras.layers.Dense.call(layer, x), 16)


def test_gates_of_the_context_and_no_activation_before_the_last_layer(perturb):
    net = ResidualMLP(5, blocks=2, features=3, context="required", gated=True, activate_last=False)
    x, c = np.random.default_rng(0).normal(size=(2, 4, 2)).astype("float32")
    net(x, c)
    perturb(net, scale=1.0)

    def value(variable):
        return np.asarray(ops.convert_to_numpy(variable), "float64")

    def dense(layer, h):
        return h @ value(layer.kernel) + value(layer.bias)

    h = dense(net.hidden_layers[0], x) + c @ value(net.bias.kernel)
    for block, (one, two) in enumerate([net.hidden_layers[1:3], net.hidden_layers[3:]]):
        gate = c @ value(net.gates[block].kernel) + value(net.gate_biases[block])
        more = dense(two, np.maximum(dense(one, np.maximum(h, 0)), 0))
        h = h + more / (1 + np.exp(-gate))
    np.testing.assert_allclose(value(net(x, c)), dense(net.last, h), rtol=1e-4, atol=1e-5)
    assert ResidualMLP.from_config(net.get_config()).get_config() == net.get_config()
    with pytest.raises(ValueError, match="expected a context to make the gates of"):
        ResidualMLP(5, gated=True)


@pytest.mark.parametrize("make", [lambda: MADE([64]), lambda: ResidualMADE(64)])
@pytest.mark.parametrize("size", [2, 5])
def test_units_of_the_first_layer_bend_on_both_sides_of_zero(make, size):
    """Where all bend at 0, a MAF of a checkerboard stays a normal for 150 steps."""
    net = make()
    net.features = size
    net.build((None, size))
    first = net.hidden_layers[0]
    bends = -ops.convert_to_numpy(first.bias) / ops.convert_to_numpy(first.kernel)[0]
    assert np.all(np.histogram(bends, [-1, -0.5, 0, 0.5, 1])[0] > 2)
