"""What draws from noise, what is refreshed in a step, and the network that reads the context, under every objective."""

import math

import keras
import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit import Bijector, BijectorSpec, Flow
from flowkit.bijectors import ActNorm, Chain, Coupling, Pointwise, Scale, Shift
from flowkit.conditioners import MLP
from flowkit.contract.adaptation import adapted_flag, is_adapted
from flowkit.distributions import Normal
from flowkit.objectives import FlowMatching, MaximumLikelihood, ReverseKL
from flowkit.surjections import Augment, Slice
from flowkit.transforms import Gaussian


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def q():
    return Pointwise(Gaussian(), MLP([8]))


def standard_normal(x, *context):
    return -0.5 * ops.sum(ops.square(x), axis=-1)


# Noise


def test_draws_are_given_their_noise_and_log_q_is_their_density(perturb):
    flow = Flow(Slice(1, q()))
    flow.build((None, 3))
    perturb(flow)
    x, log_q = flow.draw(200, seed=0)
    np.testing.assert_allclose(flow.log_prob(f64(x)), f64(log_q), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(f64(flow.draw(200, seed=0)[0]), f64(x))
    plain = Flow(Slice(1))
    plain.build((None, 2))
    x = f64(plain.draw(2000, seed=0)[0])
    # The noise is not the latents once more.
    assert abs(np.corrcoef(x[:, 0], x[:, 1])[0, 1]) < 5 / math.sqrt(2000)
    assert not np.array_equal(f64(plain.draw(5)[0]), f64(plain.draw(5)[0]))


@keras.saving.register_keras_serializable("flowkit-tests")
class Estimated(Scale):
    """A scale whose log-det is right on average."""

    spec = BijectorSpec(noise="both", likelihood="estimated")

    def noise_size(self, x_shape):
        return 1

    def _forward(self, x, noise):
        z, log_det = super()._forward(x)
        return z, log_det + 0.1 * noise[:, 0]

    def _inverse(self, z, noise):
        x, log_det = super()._inverse(z)
        return x, log_det + 0.1 * noise[:, 0]


@pytest.mark.wide
@pytest.mark.parametrize(
    ("parts", "stick", "spread"),
    [
        (lambda: [Shift(), Slice(1, q())], True, 0.02),
        (lambda: [Shift(), Scale(), Augment(1)], False, 0.1),  # without it the noise of the gradients stays
        (lambda: [Estimated(), Shift()], True, 0.11),
    ],
    ids=["exact", "bound", "estimated"],
)
def test_a_flow_with_noise_learns_a_density(parts, stick, spread):
    """The flow can be the target exactly, and then the loss of each draw is -log of what the target integrates to."""

    def log_density(x):
        return -0.5 * ops.sum(ops.square((x - 1.0) / 2.0), axis=-1)

    flow = Flow(Chain([Scale(-math.log(2.0)), *parts()]))
    flow.build((None, 2))
    loss = ReverseKL(log_density, stick_the_landing=stick)
    flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 150)), loss=loss)
    flow.fit(steps_per_epoch=150, batch_size=64, verbose=0)
    drawn = f64(loss(flow, ops.zeros((4000, 0)), None))
    assert abs(drawn.mean() + math.log(8 * math.pi)) < 0.02
    assert drawn.std() < spread


def test_the_loss_of_a_bound_is_above_the_divergence(perturb):
    """The target is the flow's own density: its divergence is 0, that of x with what is forgotten is not."""
    flow = Flow(Chain([Augment(1), Coupling(MLP([8]), swap=True), Coupling(MLP([8]))]))
    flow.build((None, 1))
    perturb(flow, scale=0.3)
    x, log_q = flow.draw(2000, seed=0)
    exact = -flow.bits_per_dim(f64(x), samples=400) * math.log(2)
    above = f64(log_q) - exact
    assert above.mean() > 5 * above.std() / math.sqrt(2000)


# Adapted to draws


def test_layers_behind_noise_are_adapted_to_draws():
    first = ActNorm()
    flow = Flow(Chain([Scale(1.0), first, Slice(2, Chain([ActNorm(), q()])), Scale(1.0), ActNorm()]))
    flow.build((None, 3))
    assert flow.adapt().bijector.adapted
    # What reaches the first one has the deviation that its draws have got from the scales around it.
    np.testing.assert_allclose(f64(first.logs)[:2] * first.factor, 1, atol=0.2)


@keras.saving.register_keras_serializable("flowkit-tests")
class Centring(keras.layers.Layer):
    """What `adapt` has centred."""

    def build(self, shape):
        self.mean = self.add_weight(shape=(shape[-1],), initializer="zeros", name="mean", trainable=False)
        self.flag = adapted_flag(self)
        self.seen = 0

    def call(self, context):
        self.seen += 1
        return context - ops.convert_to_tensor(self.mean)

    def adapt(self, context):
        self.mean.assign(ops.mean(context, axis=0))
        self.flag.assign(True)


def conditional(**options):
    flow = Flow(
        Chain([Shift(), Coupling(MLP([8], context="required"))]),
        Normal(conditioner=MLP([8])),
        embedding=Centring(),
        **options,
    )
    flow.build({"x": (None, 2), "context": (None, 3)})
    return flow


def test_the_embedding_is_adapted_where_there_are_no_data():
    flow, context = conditional(), rows(50, 3) + 5
    flow.adapt(context=context)
    assert is_adapted(flow)
    np.testing.assert_allclose(f64(flow.embedding.mean), context.mean(0), rtol=1e-5)


@pytest.mark.one_engine
# The embedding


@pytest.mark.parametrize(
    "loss", [MaximumLikelihood(), ReverseKL(standard_normal), ReverseKL(standard_normal, False)]
)
def test_an_objective_asks_the_embedding_once(loss):
    flow, context = conditional(), rows(20, 3)
    flow.adapt(context=context)
    flow.embedding.seen = 0
    x = ops.convert_to_tensor(rows(20, 2 if loss.needs_data else 0))
    assert tuple(loss(flow, x, context).shape) == (20,)
    assert flow.embedding.seen == 1
    x, _ = flow.draw(3, context)
    assert tuple(x.shape) == (3, 20, 2)
    assert flow.embedding.seen == 2


def test_the_target_is_given_the_context_as_it_is():
    """Its embedding learns as well: the posterior of each row, whose mean is the row's first two numbers."""
    dense = keras.layers.Dense(4)
    flow = Flow(Coupling(MLP([8], context="required")), Normal(conditioner=MLP([16])), embedding=dense)
    flow.build({"x": (None, 2), "context": (None, 3)})
    flow.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.04, 150)),
        loss=ReverseKL(lambda x, context: standard_normal(x - context[:, :2])),
    )
    context, before = rows(64, 3), f64(dense.kernel)
    flow.fit(context=context, epochs=150, batch_size=64, verbose=0)
    assert np.abs(f64(dense.kernel) - before).max() > 0.01
    x = flow.sample(500, context=context[:5], seed=0)
    np.testing.assert_allclose(x.mean(0), context[:5, :2], atol=0.3)


# What is refreshed


@keras.saving.register_keras_serializable("flowkit-tests")
class CountsSteps(Bijector):
    """z = x, with a velocity; counts how often it is refreshed, and keeps the mean that it saw."""

    def build(self, x_shape):
        self.steps = self.add_weight(shape=(), initializer="zeros", name="steps", trainable=False)
        self.seen = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="seen", trainable=False)
        self.rate = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="rate")

    def _forward(self, x):
        return x + 0.0 * self.rate, 0.0

    def _inverse(self, z):
        return z + 0.0 * self.rate, 0.0

    def velocity(self, x, t, context=None):
        return x * self.rate

    def _refresh(self, x):
        self.steps.assign(self.steps + 1)
        self.seen.assign(ops.mean(x, axis=0))


@pytest.mark.parametrize(
    "loss",
    [MaximumLikelihood(), FlowMatching(), ReverseKL(standard_normal), ReverseKL(standard_normal, False)],
)
def test_a_step_refreshes_once_on_data_or_on_draws(loss):
    flow = Flow(CountsSteps(), Normal(learn=True))
    flow.build((None, 2))
    flow.base.raw.assign(np.float32([[7, 7], [0, 0]]))
    flow.compile(keras.optimizers.SGD(0.0), loss=loss)
    x = np.random.default_rng(0).normal(5, 1, (64, 2)).astype("float32")
    given = {"x": x, "epochs": 3} if loss.needs_data else {"steps_per_epoch": 6}
    flow.fit(**given, batch_size=32, shuffle=False, verbose=0)
    assert float(f64(flow.bijector.steps)) == 6
    if loss.needs_data:
        np.testing.assert_allclose(f64(flow.bijector.seen), x[32:].mean(0), atol=1e-5)
    else:
        np.testing.assert_allclose(f64(flow.bijector.seen), 7, atol=5 / math.sqrt(32))
