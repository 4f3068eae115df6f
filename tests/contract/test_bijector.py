"""The base class: building, shapes, log-dets, context, precision, adaptation."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling, Elementwise, MultiScale, Permute, Squeeze
from flowkit.conditioners import ConvNet, ScaledConv, TopPrior
from flowkit.contract import Bijector, BijectorSpec, ContractError

EPSILON = np.finfo("float32").eps


class Times(Bijector):
    """z = w x with one weight for each channel; its log-det is a scalar."""

    spec = BijectorSpec(event_rank=(1, 2), log_det="constant")

    def build(self, x_shape):
        self.log_w = self.add_weight(shape=(x_shape[-1],), initializer="ones", name="log_w")

    def _places(self, x):
        return 1 if len(x.shape) == 2 else x.shape[1]

    def _forward(self, x):
        return x * ops.exp(self.log_w), self._places(x) * ops.sum(self.log_w)

    def _inverse(self, z):
        return z * ops.exp(-self.log_w), -self._places(z) * ops.sum(self.log_w)


def numpy(*tensors):
    return [ops.convert_to_numpy(t) for t in tensors]


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (2, 4, 3)])
def test_a_derivative_that_is_shared_counts_for_every_entry(shape):
    class Twice(Elementwise):
        def _forward(self, x):
            return 2 * x, ops.full(shape, math.log(2))

    _, log_det = Twice()(np.ones((2, 4, 3), "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(log_det), [12 * math.log(2)] * 2, rtol=12 * EPSILON)


def test_built_from_the_latents_it_is_built_for_the_data():
    """Squeeze's latents have 4 times the channels of its data, so the ActNorm before it gets a quarter."""
    layer = Chain([Times(), Reshaped()])
    layer.inverse(np.ones((2, 6), "float32"))
    assert tuple(layer.parts[0].log_w.shape) == (3,)


class Reshaped(Bijector):
    """(batch, 2, 3) <-> (batch, 6)."""

    spec = BijectorSpec(event_rank=2, log_det="zero")

    def _forward(self, x):
        return ops.reshape(x, (-1, 6)), 0.0

    def _inverse(self, z):
        return ops.reshape(z, (-1, 2, 3)), 0.0

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 6)

    def compute_inverse_shape(self, latent_shape):
        return (latent_shape[0], 2, 3)


@pytest.mark.one_engine
@pytest.mark.parametrize(("name", "base"), [("forward", Times), ("inverse", Bijector)])
def test_directions_as_other_libraries_call_them_are_refused_where_they_are_written(name, base):
    """Before a call: on PyTorch it would run `forward`, and `inverse` would answer unchecked."""
    with pytest.raises(TypeError, match=f"Mine: got a method {name}, expected .* Rename {name} to _{name}"):
        type("Mine", (base,), {name: lambda self, x: (x, 0.0)})
    type("Noted", (Times,), {"inverse": lambda self, z: super(Times, self).inverse(z)})


@pytest.fixture
def multi_scale(perturb):
    """A class-conditional bijector of events (4, 4, 2), with data and labels."""
    layer = MultiScale(
        [Chain([Squeeze(), ActNorm()]), Squeeze()],
        priors=[ScaledConv(zeros=True)],
        top_prior=TopPrior(num_classes=3),
    )
    layer.build_for((None, 4, 4, 2), (None,))
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype("float32")
    return perturb(layer), x, np.arange(6) % 3


@pytest.mark.parametrize("inverse", [False, True])
def test_a_symbolic_call_makes_a_model_that_computes_the_same(multi_scale, inverse):
    layer, x, labels = multi_scale
    x = x.reshape(6, 32) if inverse else x
    symbols = [keras.Input(x.shape[1:]), keras.Input((), dtype="int32")]
    answers = layer(symbols[0], context=symbols[1], inverse=inverse)
    assert all(answer.shape[0] is None for answer in answers)
    model = keras.Model(symbols, answers)
    direct = numpy(*layer(x, context=labels, inverse=inverse))
    for one, other in zip(numpy(*model([x, labels])), direct, strict=True):
        np.testing.assert_array_equal(one, other)  # the same operations on the same numbers


# Precision


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8"])
def test_inputs_of_any_dtype_are_taken_as_the_flow_dtype(dtype):
    x = np.arange(15).reshape(5, 3).astype(dtype)
    y, log_det = Permute("reverse")(x)  # no arithmetic converts it
    assert [keras.backend.standardize_dtype(t.dtype) for t in (y, log_det)] == ["float32"] * 2
    np.testing.assert_array_equal(numpy(y)[0], x[:, ::-1])


@pytest.mark.parametrize("low", ["mixed_bfloat16", "bfloat16"])
def test_in_low_precision_networks_compute_low_and_flow_maths_does_not(policy, low, perturb):
    policy(low)
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype("float32")
    net = ConvNet(8)
    layer = Chain([ActNorm(), Conv1x1(), Coupling(net)])
    assert net.compute_dtype == net.first.compute_dtype == "bfloat16"
    layer.build_for(x.shape)
    perturb(layer)
    assert layer.parts[0].logs.dtype == layer.parts[1].log_s.dtype == "float32"
    for call in (layer, layer.inverse):
        y, log_det = call(x)
        assert [keras.backend.standardize_dtype(t.dtype) for t in (y, log_det)] == ["float32"] * 2
        # A log-det that went through bfloat16 has 8 bits: it would survive a cast there and back.
        low_bits = ops.cast(ops.cast(log_det, "bfloat16"), "float32")
        assert bool(ops.any(low_bits != log_det))


# Adaptation


def test_within_a_chain_each_part_adapts_to_what_the_parts_before_it_give():
    layer = Chain([ActNorm(), Times(), ActNorm()])
    x = np.random.default_rng(0).normal(5, 1, (64, 3)).astype("float32")
    z, _ = layer.adapt(x)(x)
    np.testing.assert_allclose(numpy(z)[0].mean(0), 0, atol=64 * 5 * EPSILON)
    np.testing.assert_allclose(numpy(layer.parts[2].shift)[0], 0, atol=64 * 5 * EPSILON * np.e)
    with pytest.raises(ContractError, match="event shape"):
        layer.adapt(np.ones((4, 5), "float32"))


def test_a_map_that_forgets_its_log_det_is_told_for_a_batch_of_two_as_well():
    class Forgetful(Elementwise):
        def _forward(self, x):
            return 2.0 * x

    for batch in (2, 3):
        with pytest.raises(TypeError, match=r"got .*, expected the pair \(output, log_det\)"):
            Forgetful()(np.ones((batch, 4), "float32"))
