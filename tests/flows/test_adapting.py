"""Who hands `adapt` on: a flow to embedding and base, a multi-scale flow to priors, a network to its layers."""

import keras
import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit import Flow
from flowkit.bijectors import ActNorm, Chain, Coupling, MultiScale, Repeat, Scale, Shift, Squeeze, Standardize
from flowkit.conditioners import MLP, ConvNet, ScaledConv
from flowkit.contract import Conditioner, ContractError
from flowkit.contract.adaptation import adapted_flag, is_adapted
from flowkit.distributions import Mixture, Normal

pytestmark = pytest.mark.two_engines

ROWS = 32


@keras.saving.register_keras_serializable("flowkit-tests")
class Standard(Conditioner):
    """A dense layer of inputs that `adapt` has normalised."""

    def build(self, x_shape, context_shape=None):
        self.shift = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="shift", trainable=False)
        self.flag = adapted_flag(self)
        self.dense = keras.layers.Dense(self.features, kernel_initializer="zeros")
        self.dense.build(x_shape)

    def call(self, x, context=None):
        return self.dense(x + ops.convert_to_tensor(self.shift))

    def adapt(self, x, context=None):
        self.shift.assign(-ops.mean(ops.cast(x, self.shift.dtype), axis=0))
        self.flag.assign(True)

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.features)


@keras.saving.register_keras_serializable("flowkit-tests")
class Centred(Normal):
    """A normal distribution around the mean of the latents that it has adapted to."""

    def build(self, z_shape, context_shape=None):
        super().build(z_shape, context_shape)
        self.mean = self.add_weight(shape=z_shape[1:], initializer="zeros", name="mean")
        self.flag = adapted_flag(self)

    def log_prob(self, z, context=None):
        return super().log_prob(z - ops.convert_to_tensor(self.mean))

    def adapt(self, z, context=None):
        self.mean.assign(ops.mean(z, axis=0))
        self.flag.assign(True)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(2.0, 3.0, size=(ROWS, 4)).astype("float32")


@pytest.fixture
def context():
    return np.random.default_rng(1).normal(-1.0, 2.0, size=(ROWS, 3)).astype("float32")


@pytest.fixture
def maps():
    return np.random.default_rng(2).normal(1.0, 2.0, size=(ROWS, 8, 8, 2)).astype("float32")


# The parts


def test_it_ends_after_the_last_part_that_adapts(x):
    """Also inside of other parts: what comes after it is not run."""

    class Unasked(Shift):
        def _forward(self, x):
            raise AssertionError("nothing after the last part that adapts is run")

    inner = Chain([Chain([ActNorm(), Scale()]), Repeat(Chain([Scale(), ActNorm()]), 2), Unasked()])
    Flow(Chain([ActNorm(), inner, Unasked()])).adapt(x)
    parts = inner.parts
    np.testing.assert_allclose(f64(parts[0].parts[0].shift), 0.0, atol=1e-6)
    assert inner.adapted


# The base


def test_the_base_adapts_to_the_latents(x):
    flow = Flow(Shift(-1.0), Centred())
    flow.build((None, 4))
    with pytest.raises(ContractError, match="broke 'adapted'"):
        flow.log_prob(x)
    flow.adapt(x)
    np.testing.assert_allclose(f64(flow.base.mean), f64(x).mean(0) - 1.0, rtol=1e-5)
    assert flow.log_prob(x).shape == (ROWS,)


@pytest.mark.parametrize("kind", [Normal, lambda conditioner: Mixture(2, conditioner=conditioner)])
def test_its_network_adapts_to_the_context(kind, x, context):
    flow = Flow(Shift(0.0), kind(conditioner=Standard()))
    flow.adapt(x, context)
    np.testing.assert_allclose(f64(flow.base.conditioner.shift), -f64(context).mean(0), rtol=1e-5)


# The embedding


def test_the_embedding_adapts_to_the_context_first(x, context):
    embedding = keras.layers.Normalization()
    flow = Flow(
        Chain([ActNorm(), Coupling(MLP([8], context="required"))]),
        Normal(conditioner=Standard()),
        embedding=embedding,
    )
    flow.adapt(x, context)
    np.testing.assert_allclose(f64(embedding.mean).ravel(), f64(context).mean(0), rtol=1e-4)
    # What the base adapts to is what it will see.
    np.testing.assert_allclose(f64(flow.base.conditioner.shift), 0.0, atol=1e-5)


def test_one_with_a_flag_is_asked_for_and_adapted_by_fit(x, context):
    flow = Flow(Coupling(MLP([8], context="required")), embedding=Standard(features=2))
    flow.build({"x": (None, 4), "context": (None, 3)})
    with pytest.raises(ContractError, match="broke 'adapted'"):
        flow.log_prob(x, context)
    flow.compile("adam")
    flow.fit(x, context=context, batch_size=ROWS, verbose=0, shuffle=False)
    np.testing.assert_allclose(f64(flow.embedding.shift), -f64(context).mean(0), rtol=1e-5)


# The priors of a multi-scale flow


def glow_weights(flow):
    return [ops.convert_to_numpy(w) for w in flow.weights]


@pytest.mark.one_engine
def test_any_other_prior_adapts_to_what_stays(maps):
    prior = ConvNet(6)
    scale = Chain([ActNorm(), Squeeze()])
    flow = MultiScale([scale, Squeeze()], priors=[prior])
    flow.adapt(maps)
    assert flow.adapted
    x, _ = scale(ops.convert_to_tensor(maps))
    hidden = f64(prior.first(x[..., : x.shape[-1] // 2]))
    np.testing.assert_allclose(hidden.mean((0, 1, 2)), 0.0, atol=1e-4)
    np.testing.assert_allclose(hidden.std((0, 1, 2)), 1.0, atol=1e-3)
    z, _ = flow(ops.convert_to_tensor(maps))
    np.testing.assert_allclose(f64(flow.inverse(z)[0]), maps, atol=1e-4)


def test_again_leaves_adapted_priors_alone(maps):
    prior = ConvNet(6)
    flow = MultiScale([Squeeze(), Squeeze()], priors=[prior])
    flow.adapt(maps)
    before = glow_weights(prior)
    flow.adapt(maps * 3.0, again=False)
    assert all(np.array_equal(a, b) for a, b in zip(before, glow_weights(prior), strict=True))
    flow.adapt(maps * 3.0)
    assert not all(np.array_equal(a, b) for a, b in zip(before, glow_weights(prior), strict=True))


# Plain models with flowkit's layers inside


@keras.saving.register_keras_serializable("flowkit-tests")
class Wrapped(Conditioner):
    """A conditioner without `adapt`, around a layer that has it."""

    def build(self, x_shape, context_shape=None):
        self.inner = ScaledConv(self.features, 1)
        self.inner.build(x_shape)

    def call(self, x, context=None):
        return self.inner.call(x)

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.features)


def test_layers_inside_a_plain_model_adapt_in_the_order_in_which_data_flow(maps):
    first, second = ScaledConv(5), ScaledConv(6, 1)
    net = keras.Sequential([first, keras.layers.ReLU(), second, ScaledConv(2, zeros=True)])
    flow = Chain([Coupling(net)])
    flow.adapt(maps)
    assert flow.adapted
    assert "call" not in vars(first) | vars(second)
    hidden = first(ops.convert_to_tensor(maps[..., :1]))
    for h in (hidden, second(ops.relu(hidden))):
        np.testing.assert_allclose(f64(h).mean((0, 1, 2)), 0.0, atol=1e-4)
        np.testing.assert_allclose(f64(h).std((0, 1, 2)), 1.0, atol=1e-3)
    flow(ops.convert_to_tensor(maps))


def test_a_conditioner_without_adapt_hands_it_on(maps):
    flow = Coupling(Wrapped())
    flow.adapt(maps)
    h = f64(flow.conditioner.inner(ops.convert_to_tensor(maps[..., :1])))
    np.testing.assert_allclose(h.mean((0, 1, 2)), 0.0, atol=1e-4)


def test_an_error_on_the_way_leaves_no_trace(maps):
    first = ScaledConv(5)

    class Fails(keras.layers.Layer):
        fails = False

        def call(self, x):
            if self.fails:
                raise RuntimeError("no")
            return x

    net = keras.Sequential([Fails(), first, ScaledConv(2, zeros=True)])
    flow = Coupling(net)
    flow.build(maps.shape)
    net.layers[0].fails = True
    with pytest.raises(RuntimeError, match="no"):
        flow.adapt(maps)
    assert "call" not in vars(first)
    assert not is_adapted(first)


@pytest.mark.one_engine
@pytest.mark.parametrize("batch_size", [4, 40])
def test_fit_adapts_to_rows_by_their_weights(batch_size):
    """Also if those of the first batch are all 0."""
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(40, 2)).astype("float32"), np.repeat([0, 3, 1], [4, 6, 30])

    def started(make, x, sample_weight=None):
        flow = make()
        flow.compile(keras.optimizers.SGD(0.0))
        flow.fit(x, sample_weight=sample_weight, batch_size=batch_size, verbose=0)
        return flow.log_prob(np.full((1, 2), 0.3))

    def table():
        return Flow(Standardize())

    assert started(table, x, weights) == pytest.approx(
        started(table, np.repeat(x, weights, axis=0)), abs=1e-5
    )
    assert np.isfinite(started(lambda: Flow(ActNorm()), x, weights)).all()
