"""The inverse of autoregressive layers: in turn, in passes, and in as few of them as it takes."""

import keras
import numpy as np
import pytest
from arrays import array
from keras import ops

from flowkit.bijectors import Autoregressive
from flowkit.bijectors.autoregressive import find_fixed_point, find_in_passes
from flowkit.conditioners import MADE, ResidualMADE
from flowkit.contract import Conditioner
from flowkit.contract.call import Call
from flowkit.contract.conditioner import in_turn_of
from flowkit.engines import engine
from flowkit.numerics import tanh
from flowkit.transforms import Additive, Affine, RationalQuadratic, SigmoidMixture


@pytest.fixture(autouse=True)
def in_float64():
    with engine.float64():
        yield


class Plain(Conditioner):
    """A MADE of which nobody knows that it could answer in turn."""

    autoregressive = True

    def __init__(self, made, **kwargs):
        super().__init__(context=made.context, **kwargs)
        self.made = made

    def build(self, x_shape, context_shape=None):
        self.made.features = self.features
        self.made.build(x_shape, context_shape)

    def call(self, x, context=None):
        return self.made.call(x, context)

    def compute_output_shape(self, x_shape, context_shape=None):
        return (*x_shape[:-1], self.features)


def built(size, hidden, transform, context="none", order=None, plain=False, scale=0.5, **options):
    """A layer in float64 with weights as if trained, and data: (layer, x, context); `hidden` is a width for blocks."""
    rng = np.random.default_rng(size)
    kind = ResidualMADE if isinstance(hidden, int) else MADE
    network = kind(hidden, context=context, dtype="float64", **{"activation": tanh} | options)
    network = Plain(network, dtype="float64") if plain else network
    layer = Autoregressive(network, transform, order=order, dtype="float64")
    layer.build_for((None, size), (None, 3) if context == "required" else None)
    for weight in layer.trainable_weights:
        weight.assign(scale * rng.normal(size=weight.shape))
    given = ops.convert_to_tensor(rng.normal(size=(6, 3))) if context == "required" else None
    return layer, ops.convert_to_tensor(rng.normal(size=(6, size))), given


def passes(layer, z, context):
    """x of `z` in all passes, and the logarithms of the slopes."""
    y = layer._in_order(z)
    x, log_slope = find_in_passes(
        lambda x: layer.transform.inverse(y, *layer._prepare(x, Call(context), None)), y
    )
    return layer._in_order(x, back=True), log_slope


@pytest.mark.parametrize(
    ("size", "hidden", "transform", "options"),
    [
        (1, [3], Affine("tanh"), {"context": "required"}),
        (2, [1], Additive(), {"order": "reversed"}),
        (5, [9, 16, 5], RationalQuadratic(3), {"context": "required", "order": [2, 0, 4, 1, 3]}),
        (4, [11, 4], SigmoidMixture(2), {}),
        (1, 3, Affine("tanh"), {"context": "required"}),
        (5, 16, RationalQuadratic(3), {"context": "required", "order": [2, 0, 4, 1, 3]}),
        (5, 9, Affine("tanh"), {"activation": "sigmoid", "activate_last": False, "blocks": 3}),
        (4, 4, Affine("tanh"), {"activation": "relu", "degrees": [1, 1, 2, 3]}),
    ],
)
def test_in_turn_it_is_what_all_passes_give(size, hidden, transform, options):
    layer, z, context = built(size, hidden, transform, **options)
    assert in_turn_of(layer.conditioner) is not None
    x, log_det = layer.run(z, Call(context, inverse=True))
    expected, log_slope = passes(layer, z, context)
    np.testing.assert_allclose(array(x), array(expected), rtol=1e-11, atol=1e-11)
    total = ops.zeros_like(z) + log_slope
    np.testing.assert_allclose(array(log_det + ops.zeros((6,))), array(total).sum(1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("hidden", [[7, 5], 7])
@pytest.mark.one_engine
def test_in_turn_its_gradients_are_those_of_all_passes(hidden):
    layer, z, context = built(4, hidden, RationalQuadratic(2), context="required", order="reversed")
    weights = layer.trainable_weights

    def total(run):
        def function(tensors):
            z, context, *values = tensors
            with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
                x, logs = run(z, context)
                return ops.sum(ops.sin(3 * x)) + ops.sum(logs)

        return engine.gradients(function, [z, context, *(weight.value for weight in weights)])[1]

    ours = total(lambda z, context: layer.run(z, Call(context, inverse=True)))
    for one, other in zip(ours, total(lambda z, context: passes(layer, z, context)), strict=True):
        assert np.abs(array(other)).max() > 0
        np.testing.assert_allclose(array(one), array(other), rtol=1e-6, atol=1e-7)


def counted(layer, z, context=None):
    """(`find_fixed_point`'s x and the logarithms of the slopes, how many passes it took)."""
    count = [0]

    def found(x):
        count[0] += 1
        return layer.transform.inverse(z, *layer._prepare(x, Call(context), None))

    return find_fixed_point(found, z), count[0]


@pytest.mark.parametrize("scale", [0.2, 2.0])
def test_a_fixed_point_is_what_all_passes_give_to_the_last_bit(scale):
    layer, z, _ = built(24, [32], Affine("tanh"), plain=True, scale=scale)
    (x, log_slope), count = counted(layer, z)
    expected, expected_slope = passes(layer, z, None)
    np.testing.assert_array_equal(array(x), array(expected))
    np.testing.assert_array_equal(array(log_slope), array(expected_slope))
    assert count < 20 if scale == 0.2 else count <= 25


def test_entries_to_come_do_not_spoil_those_that_are_due():
    layer, z, _ = built(4, [16], Affine(), plain=True, scale=1.5, activation="exponential")
    (x, _), _ = counted(layer, z)
    expected, _ = passes(layer, z, None)
    due = np.isfinite(array(expected)).cumprod(1).astype(bool)
    assert due[:, :3].any()
    np.testing.assert_array_equal(array(x)[due], array(expected)[due])


def test_a_network_of_its_own_is_asked_itself():
    class Louder(MADE):
        def call(self, x, context=None):
            return 2 * super().call(x, context)

    assert in_turn_of(Louder([4], features=4)) is None
    half = MADE([4], features=4, dtype="mixed_bfloat16")
    half.build((None, 4))
    assert in_turn_of(half) is None
