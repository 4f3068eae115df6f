"""The base class: building, shapes, log-dets, context, precision, adaptation."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling, Elementwise, MultiScale, Squeeze
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


class Moved(Bijector):
    """z = x + context, and remembers what it was given."""

    def __init__(self, context, **kwargs):
        super().__init__(**kwargs)
        self.spec = BijectorSpec(log_det="zero", context=context)

    def build(self, x_shape, context_shape=None):
        self.seen = context_shape

    def _forward(self, x, context=None):
        return (x if context is None else x + context), 0.0

    def _inverse(self, z, context=None):
        return (z if context is None else z - context), 0.0


def numpy(*tensors):
    return [ops.convert_to_numpy(t) for t in tensors]


def test_a_scalar_log_det_is_given_to_every_sample():
    z, log_det = numpy(*Times()(np.ones((5, 3), "float32")))
    np.testing.assert_allclose(z, np.full((5, 3), np.e), rtol=4 * EPSILON)
    assert log_det.shape == (5,)
    np.testing.assert_allclose(log_det, 3.0, rtol=4 * EPSILON)


def test_a_log_det_of_zero_has_the_batch_shape_and_the_flow_dtype():
    _, log_det = Moved("none")(np.ones((4, 2), "float32"))
    assert tuple(log_det.shape) == (4,)
    assert keras.backend.standardize_dtype(log_det.dtype) == "float32"


def test_a_log_det_of_another_shape_is_refused():
    """(batch, event) would broadcast against a base density of (batch,) to a square of numbers."""

    class Unsummed(Bijector):
        def _forward(self, x):
            return 2 * x, ops.full(x.shape, math.log(2))

    with pytest.raises(ContractError, match=r"one number for each sample, \(3,\), received shape \(3, 3\)"):
        Unsummed()(np.ones((3, 3), "float32"))


@pytest.mark.parametrize("shape", [(), (3,), (1, 3), (2, 4, 3)])
def test_a_derivative_that_is_shared_counts_for_every_entry(shape):
    class Twice(Elementwise):
        def _forward(self, x):
            return 2 * x, ops.full(shape, math.log(2))

    _, log_det = Twice()(np.ones((2, 4, 3), "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(log_det), [12 * math.log(2)] * 2, rtol=12 * EPSILON)


def test_an_elementwise_map_sums_over_its_event():
    class Cube(Elementwise):
        def _forward(self, x):
            return x**3, ops.log(3 * x**2)

        def _inverse(self, y):
            x = y ** (1 / 3)
            return x, -ops.log(3 * x**2)

    x = np.full((2, 3, 4), 2.0, "float32")
    _, log_det = numpy(*Cube()(x))
    np.testing.assert_allclose(log_det, [12 * np.log(12)] * 2, rtol=12 * EPSILON)
    _, back = numpy(*Cube().inverse(x**3))
    # x = 8^(1/3) is rounded before it is squared and logged.
    np.testing.assert_allclose(back, -log_det, rtol=32 * EPSILON)


@pytest.mark.parametrize("first", ["forward", "inverse"])
def test_either_direction_builds(first):
    layer = Times()
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
    y, log_det = layer(x) if first == "forward" else layer.inverse(x)
    assert layer.built
    assert tuple(layer.log_w.shape) == (3,)
    sign = 1 if first == "forward" else -1
    np.testing.assert_allclose(numpy(y)[0], x * np.exp(sign), rtol=4 * EPSILON)
    np.testing.assert_allclose(numpy(log_det)[0], [12 * sign] * 5, rtol=4 * EPSILON)


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


def test_neither_direction_changes_state():
    layer = Times()
    x = np.ones((5, 3), "float32")
    layer(x)
    before = numpy(*layer.weights)
    layer(2 * x)
    layer.inverse(2 * x)
    for old, new in zip(before, numpy(*layer.weights), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("shape", [(5,), (5, 2, 2, 3)])
def test_a_wrong_rank_names_the_layer_the_ranks_and_the_shape(direction, shape):
    layer = Times(name="mine")
    call = layer if direction == "forward" else layer.inverse
    with pytest.raises(ContractError) as caught:
        call(np.ones(shape, "float32"))
    assert caught.value.clause == "event rank"
    for part in ("Times 'mine'", "rank 1 or 2", str(shape)):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.one_engine
def test_directions_as_other_libraries_call_them_are_told_where_they_are_written():
    """Before a call: on PyTorch it would run `forward`, and `inverse` would answer unchecked."""
    with pytest.raises(
        TypeError, match=r"Mine: got a method forward, expected .* Rename forward to _forward"
    ):

        class Mine(Bijector):
            def forward(self, x):
                return 2 * x, 0.0

    with pytest.raises(
        TypeError, match=r"Half: got a method inverse, expected .* Rename inverse to _inverse"
    ):

        class Half(Times):
            _inverse = Bijector._inverse

            def inverse(self, z):
                return z / 2, 0.0

    class Noted(Times):
        def inverse(self, z):
            return super().inverse(z)

    assert Noted().inverse(np.ones((2, 3), "float32"))[0].shape == (2, 3)


class OfImages(Times):
    spec = BijectorSpec(event_rank=3)


@pytest.mark.one_engine
def test_images_without_channels_are_told_how_to_have_some():
    hint = r"x\[\.\.\., None\] adds one"
    with pytest.raises(ContractError, match=hint):
        OfImages()(np.ones((5, 8, 8), "float32"))
    either = Times(name="either")  # of any rank, until it is built
    either.spec = BijectorSpec()
    either(np.ones((5, 8, 8, 1), "float32"))
    with pytest.raises(ContractError, match=hint):
        either(np.ones((5, 8, 8), "float32"))
    for shape in ((5, 8), (5, 8, 8, 1, 1)):
        with pytest.raises(ContractError) as caught:
            OfImages()(np.ones(shape, "float32"))
        assert "None]" not in str(caught.value)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_other_channels_than_the_weights_were_made_for(direction):
    layer = Times(name="mine")
    layer(np.ones((5, 3), "float32"))
    call = layer if direction == "forward" else layer.inverse
    with pytest.raises(ContractError, match=r"Times 'mine' broke 'event shape'.*\(3,\).*\(5, 4\)"):
        call(np.ones((5, 4), "float32"))


def test_numbers_without_columns_are_told_how_to_become_rows():
    with pytest.raises(
        ContractError, match=r"received shape \(5,\)\. .* x\[:, None\] is one number each, x\[None\]"
    ):
        Times()(np.ones(5, "float32"))


def test_an_axis_that_is_no_multiple_is_named_with_what_to_do():
    with pytest.raises(ContractError, match=r"axis 1 to be a multiple of 2.*received 7.*to 6 or 8"):
        Squeeze()(np.ones((2, 7, 4, 1), "float32"))
    with pytest.raises(ContractError, match=r"received 1 .*resize that axis to 2\.$"):
        Squeeze()(np.ones((2, 1, 4, 1), "float32"))


def test_without_hooks_the_error_says_which_is_missing():
    class Empty(Bijector):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has no _forward\(self, x\)"):
        Empty()(np.ones((1, 1), "float32"))
    with pytest.raises(NotImplementedError, match=r"Empty has no _inverse\(self, z\)"):
        Empty().inverse(np.ones((1, 1), "float32"))


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize(("kind", "moves"), [("none", 0), ("optional", 1), ("required", 1)])
def test_context_is_ignored_or_used_as_the_spec_says(direction, kind, moves):
    layer = Moved(kind)
    call, sign = (layer, 1) if direction == "forward" else (layer.inverse, -1)
    context = np.full((4, 2), 3.0, "float32")
    y, _ = call(np.zeros((4, 2), "float32"), context=context)
    np.testing.assert_array_equal(numpy(y)[0], np.full((4, 2), 3.0 * moves * sign))
    assert layer.seen == (4, 2) or layer.seen == (None, 2)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_context_may_be_left_out_only_where_it_is_not_required(direction):
    x = np.zeros((4, 2), "float32")
    for kind in ("none", "optional"):
        layer = Moved(kind)
        y, _ = layer(x) if direction == "forward" else layer.inverse(x)
        np.testing.assert_array_equal(numpy(y)[0], x)
    layer = Moved("required", name="mine")
    with pytest.raises(ContractError, match=r"Moved 'mine' broke 'context'.*received none"):
        layer(x) if direction == "forward" else layer.inverse(x)


def test_a_context_may_be_a_dict():
    class Both(Bijector):
        spec = BijectorSpec(log_det="zero", context="required")

        def build(self, x_shape, context_shape=None):
            self.seen = context_shape

        def _forward(self, x, context):
            return x + context["a"] + context["b"], 0.0

        def _inverse(self, z, context):
            return z - context["a"] - context["b"], 0.0

    x, one = np.zeros((4, 2), "float32"), np.ones((4, 2), "float32")
    for call, sign in ((Both(), 1), (Both().inverse, -1)):
        y, _ = call(x, context={"a": one, "b": 2 * one})
        np.testing.assert_array_equal(numpy(y)[0], 3 * sign * one)


def layers():
    """name -> (a bijector of events (4, 4, 2), its context)."""
    net = {"width": 8}
    return {
        "actnorm": (ActNorm(), None),
        "conv1x1": (Conv1x1(seed=0), None),
        "conv1x1-plain": (Conv1x1(lu=False, seed=0), None),
        "coupling": (Coupling(ConvNet(**net)), None),
        "checkerboard": (Coupling(ConvNet(**net), split="checkerboard"), None),
        "squeeze": (Squeeze(), None),
        "with-labels": (Coupling(ConvNet(**net, context="required", num_classes=3)), np.arange(6) % 3),
        "multiscale": (
            MultiScale(
                [Chain([Squeeze(), ActNorm()]), Squeeze()],
                priors=[ScaledConv(zeros=True)],
                top_prior=TopPrior(num_classes=3),
            ),
            np.arange(6) % 3,
        ),
    }


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype("float32")


@pytest.mark.parametrize("name", layers())
def test_a_symbolic_call_makes_a_model_that_computes_the_same(name, x, perturb):
    layer, context = layers()[name]
    inputs = keras.Input(x.shape[1:])
    if context is None:
        symbolic, feed = inputs, x
        z, log_det = layer(inputs)
    else:
        symbolic, feed = [inputs, keras.Input((), dtype="int32")], [x, context]
        z, log_det = layer(inputs, context=symbolic[1])
    assert tuple(log_det.shape) == (None,)
    assert z.shape[0] is None
    perturb(layer)
    model = keras.Model(symbolic, [z, log_det])
    direct = numpy(*layer(x, context=context))
    for one, other in zip(numpy(*model(feed)), direct, strict=True):
        assert one.shape == other.shape
        np.testing.assert_array_equal(one, other)  # the same operations on the same numbers


@pytest.mark.parametrize("name", layers())
def test_a_symbolic_call_backwards_knows_its_shapes(name, x, perturb):
    layer, context = layers()[name]
    latent = layer.compute_output_shape((None, *x.shape[1:])) if name != "multiscale" else (None, 32)
    layer.build_for(x.shape, None if context is None else context.shape)
    symbolic = None if context is None else keras.Input((), dtype="int32")
    back, log_det = layer.inverse(keras.Input(latent[1:]), context=symbolic)
    assert tuple(back.shape) == (None, *x.shape[1:])
    assert tuple(log_det.shape) == (None,)


def test_weights_of_conditioners_are_weights_of_the_bijector(x, perturb):
    layer, _ = layers()["coupling"]
    layer.build_for(x.shape)
    assert {"W", "b", "logs"} <= {w.name for w in layer.trainable_weights}
    assert [w.name for w in layer.non_trainable_weights] == ["adapted"] * 2


# Precision


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8"])
def test_inputs_of_any_dtype_are_taken_as_the_flow_dtype(direction, dtype):
    layer = Times()
    x = (np.arange(15).reshape(5, 3) % 8).astype(dtype)
    y, log_det = layer(x) if direction == "forward" else layer.inverse(x)
    assert [keras.backend.standardize_dtype(t.dtype) for t in (y, log_det)] == ["float32"] * 2
    sign = 1 if direction == "forward" else -1
    np.testing.assert_allclose(numpy(y)[0], x * np.exp(sign), rtol=4 * EPSILON)


@pytest.mark.parametrize("low", ["mixed_bfloat16", "bfloat16"])
def test_in_low_precision_networks_compute_low_and_flow_maths_does_not(policy, x, low, perturb):
    policy(low)
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


def test_in_low_precision_a_coupling_still_inverts_to_float32(policy, x, perturb):
    """Its network reads the kept half, which is bit-equal both ways, so bfloat16 errors cancel."""
    policy("mixed_bfloat16")
    layer = Coupling(ConvNet(8))
    layer.build_for(x.shape)
    perturb(layer)
    z, log_det = layer(x)
    back, log_det_back = layer.inverse(z)
    x_size = np.abs(x).max() + 1  # a shift is of the size of 1, a scale between sigmoid(1) and 1
    np.testing.assert_allclose(numpy(back)[0], x, atol=8 * EPSILON * x_size)
    np.testing.assert_array_equal(*numpy(log_det, -log_det_back))


def test_a_float64_layer_computes_in_float64():
    from flowkit.engines import engine

    with engine.float64():
        layer = Times()
        z, log_det = layer(np.full((2, 3), 1 / 3))
        assert [keras.backend.standardize_dtype(t.dtype) for t in (z, log_det)] == ["float64"] * 2
        np.testing.assert_allclose(numpy(z)[0], np.e / 3, rtol=4 * np.finfo("float64").eps)
    assert keras.config.floatx() == "float32"


# Adaptation


class Centre(Bijector):
    """z = x - mean of the batch it was adapted to."""

    spec = BijectorSpec(log_det="zero")

    def build(self, x_shape):
        self.mean = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="mean")
        self.flag = self.add_weight(
            shape=(), initializer="zeros", dtype="bool", name="adapted", trainable=False
        )

    def _adapt(self, x):
        self.mean.assign(ops.mean(x, axis=0))
        self.flag.assign(True)

    def _forward(self, x):
        return x - self.mean, 0.0

    def _inverse(self, z):
        return z + self.mean, 0.0


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_without_adapt_a_data_dependent_layer_refuses_both_ways(direction):
    layer = Centre(name="mine")
    call = layer if direction == "forward" else layer.inverse
    with pytest.raises(ContractError, match=r"Centre 'mine' broke 'adapted'.*adapt\(first_batch\)"):
        call(np.ones((4, 3), "float32"))
    assert not layer.adapted


def test_adapt_builds_sets_and_returns_the_layer():
    layer = Centre()
    x = np.random.default_rng(0).normal(5, 1, (64, 3))
    assert layer.adapt(x) is layer
    assert layer.adapted
    z, _ = layer(x)
    # A mean of 64 float32 numbers of size 5.
    np.testing.assert_allclose(numpy(z)[0].mean(0), 0, atol=64 * 5 * EPSILON)


def test_adapt_checks_its_input():
    layer = Centre()
    layer.adapt(np.ones((4, 3), "float32"))
    with pytest.raises(ContractError, match="event shape"):
        layer.adapt(np.ones((4, 5), "float32"))


def test_a_layer_with_nothing_to_adapt_is_adapted():
    layer = Times()
    layer(np.ones((4, 3), "float32"))
    assert layer.adapted


def test_within_a_chain_each_part_adapts_to_what_the_parts_before_it_give():
    layer = Chain([Centre(), Times(), Centre()])
    x = np.random.default_rng(0).normal(5, 1, (64, 3)).astype("float32")
    z, _ = layer.adapt(x)(x)
    np.testing.assert_allclose(numpy(z)[0].mean(0), 0, atol=64 * 5 * EPSILON)
    np.testing.assert_allclose(numpy(layer.parts[2].mean)[0], 0, atol=64 * 5 * EPSILON * np.e)


def test_inverse_as_an_argument_builds_for_the_data():
    squeeze = Chain([Squeeze(), ActNorm()])
    with pytest.raises(ContractError, match="adapted"):
        squeeze(np.ones((2, 3, 3, 4), "float32"), inverse=True)
    assert tuple(squeeze.compute_output_shape((None, 6, 6, 1))) == (None, 3, 3, 4)
    assert squeeze.parts[1].shift.shape == (4,)


def test_a_map_that_forgets_its_log_det_is_told_for_a_batch_of_two_as_well():
    class Forgetful(Elementwise):
        def _forward(self, x):
            return 2.0 * x

    for batch in (2, 3):
        with pytest.raises(TypeError, match=r"got .*, expected the pair \(output, log_det\)"):
            Forgetful()(np.ones((batch, 4), "float32"))


class Stretch(Bijector):
    def build(self, x_shape):
        self.log_scale = self.add_weight(shape=(x_shape[-1],), name="log_scale", initializer="ones")

    def _derive(self, x_shape, inverse):
        return {"scale": ops.exp(self.log_scale.value)}

    def _forward(self, x, derived):
        return x * derived["scale"], ops.sum(self.log_scale)

    def _inverse(self, z, derived):
        return z / derived["scale"], -ops.sum(self.log_scale)


class Turned(Stretch):
    def _forward(self, x, derived):
        y, log_det = super()._forward(x, derived)
        return -y, log_det

    def _inverse(self, z, derived):
        return super()._inverse(-z, derived)


class Plain(Stretch):
    def _forward(self, x):
        return x + 1.0, 0.0


def test_a_hook_of_a_subclass_receives_what_is_derived_if_it_declares_it():
    x = np.array([[1.0, 2.0]], "float32")
    np.testing.assert_allclose(ops.convert_to_numpy(Turned()(x)[0]), -np.e * x, rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(Turned().inverse(x)[0]), -x / np.e, rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(Plain()(x)[0]), x + 1)
    np.testing.assert_allclose(ops.convert_to_numpy(Plain().inverse(x)[0]), x / np.e, rtol=1e-6)
