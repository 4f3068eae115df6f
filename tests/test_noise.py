"""Noise reaches layers as an input, from training to samples."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Bijector, BijectorSpec, ContractError, Flow
from flowkit.bijectors import (
    ActNorm,
    Chain,
    Coupling,
    Flatten,
    Inverse,
    Permute,
    Pointwise,
)
from flowkit.conditioners import MLP
from flowkit.contract.noise import Need
from flowkit.data import Dequantize
from flowkit.flow.rows import counted
from flowkit.surjections import Augment, Slice
from flowkit.transforms import Gaussian


def q():
    return Pointwise(Gaussian(), MLP([8]))


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def perturbed(layer, seed=0, scale=0.3):
    rng = np.random.default_rng(seed)
    for weight in layer.trainable_variables:
        weight.assign(weight.numpy() + scale * rng.normal(size=weight.shape).astype("float32"))
    return layer


@pytest.mark.parametrize(
    ("parts", "noise", "likelihood"),
    [
        ([Slice(1)], "inverse", "exact"),
        ([Augment(1)], "forward", "bound"),
        ([Augment(1), Slice(1)], "both", "bound"),
        ([Inverse(Augment(1))], "inverse", "exact"),
        ([Inverse(Slice(1))], "forward", "bound"),
        ([ActNorm()], "none", "exact"),
    ],
)
def test_a_chain_says_what_its_parts_draw(parts, noise, likelihood):
    spec = Chain(parts).spec
    assert (spec.noise, spec.likelihood) == (noise, likelihood)
    assert Flow(Chain(parts)).exact == likelihood


def test_the_likelihood_of_a_slice_is_exact():
    """log p(x) = log N(z) + log q(rest | z), by hand."""
    flow = Flow(Slice(1, q()))
    flow.build((None, 3))
    perturbed(flow)
    x = rows(50, 3)
    mean, logs = np.split(ops.convert_to_numpy(flow.bijector.density.conditioner(x[:, :1])), 2, axis=1)
    if flow.bijector.density.layout != "contiguous":
        pytest.fail("the halves are taken for contiguous here")
    eps = (x[:, 1:] - mean) * np.exp(-logs)
    by_hand = -0.5 * (x[:, 0] ** 2 + (eps**2).sum(1) + 3 * math.log(2 * math.pi)) - logs.sum(1)
    np.testing.assert_allclose(flow.log_prob(x), by_hand, rtol=1e-5)
    assert flow.exact == "exact"


def test_a_slice_draws_what_it_drops_from_its_density():
    flow = Flow(Slice(1, q()))
    flow.build((None, 2))
    perturbed(flow)
    z = np.full((4000, 1), 0.7, "float32")
    rest = flow.decode(z)[:, 1]
    mean, logs = ops.convert_to_numpy(flow.bijector.density.conditioner(z[:1]))[0]
    assert abs(rest.mean() - mean) < 5 * math.exp(logs) / math.sqrt(len(z))
    assert abs(rest.std() / math.exp(logs) - 1) < 5 / math.sqrt(2 * len(z))


def test_augment_gives_a_lower_bound_and_many_draws_its_integral():
    """p(x) = int p(x, e) de, here by a sum over a grid."""
    joint = Chain([Coupling(MLP([8]), swap=True), Permute(seed=1), Coupling(MLP([8]))])
    flow = Flow(Chain([Augment(1), joint]))
    flow.build((None, 2))
    perturbed(flow, scale=1.0)
    x = rows(3, 2)
    grid = np.linspace(-12, 12, 4001, dtype="float32")
    pairs = np.concatenate([np.repeat(x, len(grid), axis=0), np.tile(grid, 3)[:, None]], axis=1)
    z, log_det = joint(ops.convert_to_tensor(pairs))
    log_joint = ops.convert_to_numpy(flow.base.log_prob(z) + log_det).reshape(3, -1)
    exact = np.log(np.exp(log_joint.astype("float64")).sum(axis=1) * (grid[1] - grid[0]))
    draws = np.stack([flow.log_prob(x, seed=seed) for seed in range(400)]).astype("float64")
    error = draws.std(axis=0) / 20
    assert (draws.mean(axis=0) < exact + 3 * error).all()
    assert (exact - draws.mean(axis=0)).sum() > 5 * math.sqrt((error**2).sum())  # and no equality
    weights = np.exp(draws - exact)
    np.testing.assert_array_less(abs(weights.mean(axis=0) - 1), 5 * weights.std(axis=0) / 20)
    many = -flow.bits_per_dim(x, samples=400) * 2 * math.log(2)
    np.testing.assert_array_less(abs(many - exact), 5 * weights.std(axis=0) / 20)
    assert flow.exact == "bound"
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, atol=1e-5)


def test_dequantize_at_the_start_of_a_chain_is_that_of_the_flow():
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype("uint8")
    inside, outside = (
        Flow(Chain([*parts, Flatten()]), dequantize=d)
        for parts, d in (([Dequantize()], None), ([], Dequantize()))
    )
    for flow in (inside, outside):
        flow.build((None, 4, 4, 3))
    assert inside.exact == outside.exact == "bound"
    noise = ops.convert_to_tensor(counted((Need("uniform", 48),), 0, 6))
    given = ops.convert_to_numpy(inside._log_density(ops.convert_to_tensor(x), None, noise))
    np.testing.assert_allclose(given, outside.log_prob(x), rtol=1e-6)
    np.testing.assert_array_equal(inside.decode(inside.encode(x)), x)


def test_missing_noise_and_noise_too_many_are_refused():
    layer = Slice(1)
    layer.build((None, 3))
    with pytest.raises(ContractError, match=r"noise= of shape \(4, 2\), normal numbers, received none"):
        layer.inverse(rows(4, 1))
    with pytest.raises(ContractError, match=r"received shape \(4, 3\)"):
        layer.inverse(rows(4, 1), noise=rows(4, 3))
    with pytest.raises(ContractError, match="draws nothing"):
        layer(rows(4, 3), noise=rows(4, 2))
    with pytest.raises(ContractError, match=r"noise= of shape \(4, 2\)"):
        layer.inverse(rows(4, 1), noise=rows(1, 2))  # one row would be shared by all


def test_counted_normals_are_normal_and_independent_of_where_they_start():
    whole = counted((Need("normal", 5), Need("uniform", 3)), 0, 4000)
    np.testing.assert_array_equal(counted((Need("normal", 5), Need("uniform", 3)), 123, 130), whole[123:130])
    normal, uniform = whole[:, :5], whole[:, 5:]
    assert abs(normal.mean()) < 5 / math.sqrt(normal.size)
    assert abs(normal.var() - 1) < 5 * math.sqrt(2 / normal.size)
    assert 0 <= uniform.min() < uniform.max() < 1
    assert abs(np.corrcoef(whole.T) - np.eye(8)).max() < 6 / math.sqrt(4000)


@keras.saving.register_keras_serializable("tests")
class CountsSteps(ActNorm):
    """Counts how often it is refreshed, and keeps the mean that it saw."""

    def build(self, x_shape):
        super().build(x_shape)
        self.steps = self.add_weight(shape=(), initializer="zeros", name="steps", trainable=False)
        self.seen = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="seen", trainable=False)

    def _refresh(self, x):
        self.steps.assign(self.steps + 1)
        self.seen.assign(ops.mean(x, axis=0))


@pytest.mark.parametrize("where", ["alone", "second"])
def test_a_layer_is_refreshed_once_in_a_training_step_and_never_otherwise(where):
    layer = CountsSteps()
    flow = Flow(layer if where == "alone" else Chain([ActNorm(), layer, Permute(seed=0)]))
    x = rows(64, 3) + 5
    flow.compile(keras.optimizers.SGD(0.0))
    flow.fit(x, epochs=3, batch_size=32, shuffle=False, verbose=0)
    assert float(layer.steps.value) == 6
    expected = x[32:] if where == "alone" else (x[32:] - x[:32].mean(0)) / x[:32].std(0)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.seen), expected.mean(0), atol=1e-4)
    flow.log_prob(x), flow.sample(3), flow.evaluate(x, verbose=0)
    assert float(layer.steps.value) == 6


def test_the_words_of_a_spec_add_up():
    from flowkit.contract.spec import composed

    solver = BijectorSpec(inverse="iterative", log_det_error=5.0, solver_gradients=False)
    words = composed(
        [solver, BijectorSpec(fixed_axes="all"), BijectorSpec(likelihood="estimated", noise="forward")]
    )
    assert words["log_det_error"] == 5.0
    assert not words["solver_gradients"]
    assert (words["fixed_axes"], words["likelihood"], words["noise"]) == ("all", "estimated", "forward")
    assert BijectorSpec(forward="none").inverted().inverse == "none"


@keras.saving.register_keras_serializable("tests")
class Estimated(Bijector):
    """The identity, whose log-det of 0 is estimated with a standard deviation of 2."""

    spec = BijectorSpec(noise="both", likelihood="estimated")

    def noise_size(self, x_shape):
        return 1

    def _forward(self, x, noise):
        return x, 2 * noise[:, 0]

    def _inverse(self, z, noise):
        return z, -2 * noise[:, 0]


PARTS = {"slice": lambda: Slice(1), "augment": lambda: Augment(1), "estimated": Estimated, "silent": ActNorm}


@pytest.mark.parametrize("names", list(itertools.product(PARTS, repeat=2)), ids="-".join)
def test_reading_a_chain_backwards_is_a_chain_of_parts_read_backwards(names):
    whole = Inverse(Chain([PARTS[name]() for name in names])).spec
    parts = Chain([Inverse(PARTS[name]()) for name in reversed(names)]).spec
    for inverse in (False, True):
        assert whole.likelihood_of(inverse=inverse) == parts.likelihood_of(inverse=inverse)
        assert whole.draws(inverse=inverse) == parts.draws(inverse=inverse)


@pytest.mark.parametrize("bounded", ["augment", "dequantize"])
def test_draws_of_estimates_are_averaged_also_if_they_are_bounds(bounded):
    """The mean of exponentials of estimates is no bound: with a deviation of 2 it would be 2 nats too high."""
    if bounded == "augment":
        flow, x = Flow(Chain([Augment(1), Estimated()])), np.zeros((50, 1), "float32")
        truth = -0.5 * math.log(2 * math.pi)
    else:
        flow, x = Flow(Estimated(), dequantize=Dequantize()), np.full((50, 1, 1, 1), 128, "uint8")
        truth = None
    flow.build((None, *x.shape[1:]))
    log_prob = -flow.bits_per_dim(x, samples=300) * math.log(2)
    assert flow.exact == "bound"
    if truth is None:
        truth = -flow_without_estimates(x).bits_per_dim(x, samples=300).mean() * math.log(2)
    assert abs(log_prob.mean() - truth) < 5 * 2 / math.sqrt(300 * 50) + 0.01


def flow_without_estimates(x):
    flow = Flow(Chain([]), dequantize=Dequantize())
    flow.build((None, *x.shape[1:]))
    return flow


def test_noise_of_dequantisation_and_of_layers_have_nothing_in_common():
    needs = (Need("uniform", 6),)
    streams = [counted(needs, 0, 500, stream=stream) for stream in ("dequantize", "forward", "inverse")]
    flat = np.concatenate(streams, axis=1)
    assert abs(np.corrcoef(flat.T) - np.eye(18)).max() < 6 / math.sqrt(500)
    assert len(np.unique(flat)) > 0.99 * flat.size


def test_seeds_next_to_each_other_give_other_numbers_however_large():
    needs = (Need("uniform", 2),)
    near = [counted(needs, 0, 4, seed=2**63 + i, stream="inverse") for i in range(3)]
    assert not (near[0] == near[1]).any()
    assert not (near[1] == near[2]).any()
    for wrong in (1.5, None, "a", -1, 2**64):
        with pytest.raises(ValueError, match=r"seed: got .*, expected a whole number"):
            counted(needs, 0, 1, seed=wrong)


@pytest.mark.parametrize("make", [lambda q: Slice(1, q), lambda q: Augment(1, q)])
def test_the_density_of_what_is_drawn_is_refreshed_too(make):
    counts = CountsSteps()
    flow = Flow(make(counts))
    flow.build((None, 1 + isinstance(flow.bijector, Slice)))
    counts.adapt(rows(8, 1))
    flow.compile("sgd")
    flow.fit(rows(32, *flow.event_shape), epochs=1, batch_size=8, verbose=0)
    assert float(counts.steps.value) == 4


def test_latents_of_another_width_are_refused():
    kept, added = Slice(1), Augment(3)
    for layer in (kept, added):
        layer.build((None, 3))
    with pytest.raises(ContractError, match="latents of 1 channels"):
        kept.inverse(rows(4, 2), noise=rows(4, 2))
    for wrong in (2, 3, 5):
        with pytest.raises(ContractError, match="latents of 6 channels"):
            added.inverse(rows(4, wrong))
