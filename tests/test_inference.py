"""The report on variational inference: its errors, its weights, and what it does with bad densities."""

import importlib
import math
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import logsumexp

import flowkit
from flowkit.bijectors import Chain, Coupling, Scale, Shift, Unconstrain
from flowkit.conditioners import MLP
from flowkit.contract import ContractError
from flowkit.data import Dequantize
from flowkit.diagnostics.inference import missed_mass, pareto_smoothed, relative_error, reliable
from flowkit.distributions import StudentT
from flowkit.surjections import Augment

ROOT = Path(__file__).parents[1]


def normal(x, scale=1.0):
    return -0.5 * ops.sum(ops.square(x / scale), axis=-1)


def funnel_of(x):
    v, y = x[:, 0], x[:, 1]
    return -0.5 * (ops.square(v / 3) + ops.square(y) * ops.exp(-v) + v)


def built(bijector=None, event=1, **options):
    flow = flowkit.Flow(Chain([Scale(), Shift()]) if bijector is None else bijector, **options)
    flow.build((None, event))
    return flow


# The tail


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.5, 0.9])
def test_k_hat_is_the_shape_of_the_tail(shape):
    """Weights 1 + u^(-k), u uniform: the largest 3 sqrt(n) of them are generalised Pareto numbers of shape k."""
    u = np.random.default_rng(0).random(40_000)
    weights = 1 + np.expm1(-shape * np.log(u)) / shape
    found = [pareto_smoothed(np.log(part))[1] for part in np.split(weights, 4)]
    assert np.mean(found) == pytest.approx(
        shape, abs=0.12
    )  # four estimates from 300 numbers, drawn towards 0.5


def test_smoothing_keeps_the_order_and_all_but_the_tail():
    log_weights = np.random.default_rng(0).standard_t(3, 1000)
    smooth, _ = pareto_smoothed(log_weights)
    order = np.argsort(log_weights)
    np.testing.assert_array_equal(smooth[order[:-95]], log_weights[order[:-95]])
    assert (np.diff(smooth[order]) >= 0).all()
    assert smooth.max() <= log_weights.max()
    assert reliable(100) == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [0.2, 0.4, 0.6])
def test_the_stated_error_holds_for_heavy_tails(shape):
    """Weights 1 + (u^(-k) - 1) / k have the mean 1 + 1 / (1 - k), and from k = 0.5 up an infinite variance."""
    rng, truth, off, by_scatter = np.random.default_rng(1), math.log(1 + 1 / (1 - shape)), [], []
    for _ in range(200):
        log_weights = np.log1p(np.expm1(-shape * np.log(rng.random(4000))) / shape)
        smooth, _ = pareto_smoothed(log_weights)
        error = logsumexp(smooth) - math.log(len(smooth)) - truth
        off.append(error / relative_error(log_weights))
        by_scatter.append(error / (np.exp(smooth).std() / np.exp(smooth).mean() / math.sqrt(len(smooth))))
    assert 0.8 < np.sqrt(np.mean(np.square(off))) < 1.25
    assert np.quantile(np.abs(off), 0.95) < 2.3
    assert (np.quantile(np.abs(by_scatter), 0.95) > 2.6) == (
        shape > 0.5
    )  # what the draws show is then too small


# Mass that draws miss


def normal_density(deviation):
    return lambda x: (
        -0.5 * np.sum(np.square(x / deviation) + np.log(2 * np.pi * np.square(deviation)), axis=-1)
    )


def funnel(x):
    return -0.5 * (np.square(x[:, 0] / 3) + np.square(x[:, 1]) * np.exp(-x[:, 0]) + x[:, 0]) - np.log(
        6 * np.pi
    )


def missed(log_p, log_q, samples):
    return missed_mass(samples, log_p(samples) - log_q(samples), log_p, log_q, seed=0)


def test_walks_find_the_neck_of_a_funnel_in_which_no_draw_falls():
    """Draws at v = -6 are too far from y = 0 for its scale of e^(v / 2) = 0.05."""
    deviation = np.array([3.0, 100.0])
    samples = np.random.default_rng(0).normal(size=(20_000, 2)) * deviation
    neck = (samples[:, 0] < -5) & (np.abs(samples[:, 1]) < 0.1)
    assert not neck.any()
    share, error = missed(funnel, normal_density(deviation), samples)
    assert share > 5 * error
    assert share < 0.1


@pytest.mark.parametrize("deviation", [0.7, 1.0, 1.2])
def test_walks_find_nothing_where_weights_have_a_variance(deviation):
    samples = np.random.default_rng(0).normal(size=(20_000, 2))
    share, error = missed(normal_density(np.full(2, deviation)), normal_density(np.ones(2)), samples)
    assert share <= 3 * error
    assert error < 0.002


# Reports of flows


def test_a_wider_density_has_the_tail_that_theory_gives():
    """p = N(0, 2) under q = N(0, 1): w grows like exp(x^2 / 4), so its tail has the shape 1 - 1/2."""
    flow = built()
    found = flowkit.inference_report(flow, lambda x: normal(x, math.sqrt(2.0)), draws=20_000)
    assert found.k_hat == pytest.approx(0.5, abs=0.2)
    found = flowkit.inference_report(flow, lambda x: normal(x, 6.0), draws=2_000)
    assert not found.trusted
    assert "Do not trust" in repr(found)


def test_the_stated_error_holds():
    """log Z = log(2 pi) / 2 + log(1.2), over 20 seeds: within four standard errors each, and their spread is right."""
    flow, truth = built(), 0.5 * math.log(2 * math.pi) + math.log(1.2)
    found = [
        flowkit.inference_report(flow, lambda x: normal(x, 1.2), draws=1000, seed=seed) for seed in range(20)
    ]
    off = np.array([(one.log_normaliser - truth) / one.standard_error for one in found])
    assert np.abs(off).max() < 4
    assert 0.5 < off.std() < 1.6
    one = found[0]
    assert one.trusted
    assert "Trust these weights" in one.sentence
    assert one.weights.sum() == pytest.approx(1)
    assert one.elbo < one.log_normaliser
    assert one.effective_sample_size < 1000
    spread = math.sqrt(one.weights @ one.samples[:, 0] ** 2)
    assert spread == pytest.approx(1.2, abs=0.12)
    assert one.resample(4000, seed=1).std() == pytest.approx(spread, rel=0.1)


def test_the_target_itself_is_reported_as_perfect(perturb):
    flow = perturb(built(Chain([Coupling(MLP([8])), Shift()]), event=2))
    found = flowkit.inference_report(flow, lambda x: flow(x) + 3.0, draws=500)
    assert found.log_normaliser == pytest.approx(3.0, abs=1e-4)
    assert found.effective_sample_size == pytest.approx(500, rel=1e-4)


def test_a_bound_still_gives_the_normaliser(perturb):
    """x together with what Augment adds: the weights of pairs have the mean Z."""
    flow = perturb(built(Chain([Augment(1), Coupling(MLP([8])), Coupling(MLP([8]), swap=True)])))
    assert flow.exact == "bound"
    found = flowkit.inference_report(flow, normal, draws=20_000)
    assert abs(found.log_normaliser - 0.5 * math.log(2 * math.pi)) < 4 * found.standard_error
    assert found.standard_error < 0.01


def test_a_conditional_flow_is_reported_for_one_row(perturb):
    flow = flowkit.Flow(Coupling(MLP([8], context="required")))
    flow.build({"x": (None, 2), "context": (None, 1)})

    def log_density(x, context):
        return normal(x - context)

    found = flowkit.inference_report(flow, log_density, [[0.5]], draws=2000)
    assert abs(found.log_normaliser - math.log(2 * math.pi)) < 4 * found.standard_error
    assert found.samples.shape == (2000, 2)
    with pytest.raises(ValueError, match="context of 3 rows, expected 1"):
        flowkit.inference_report(flow, log_density, np.zeros((3, 1)))
    with pytest.raises(ContractError, match="context"):
        flowkit.inference_report(flow, log_density)


def test_bad_densities_and_flows_are_named():
    for log_density, message in (
        (lambda x: x, r"log_density: got shape \(200, 1\), expected \(200,\)"),
        (
            lambda x: ops.sum(ops.sqrt(x), axis=-1),
            r"got nan for \d+ of 200 draws, the first \[.*expected finite",
        ),
        (lambda x: ops.sum(x, axis=-1) - np.inf, "-infinity for all 200 draws"),
    ):
        with pytest.raises(ValueError, match=message):
            flowkit.inference_report(built(), log_density, draws=200)
    with pytest.raises(ValueError, match="draws: got 10, expected a whole number from 100 up"):
        flowkit.inference_report(built(), normal, draws=10)
    with pytest.raises(ContractError, match="build"):
        flowkit.inference_report(flowkit.Flow(Shift()), normal)
    with pytest.raises(ValueError, match="got a flow with dequantize"):
        flowkit.inference_report(built(dequantize=Dequantize()), normal)


def test_a_density_that_is_zero_somewhere_keeps_its_weights():
    found = flowkit.inference_report(
        built(), lambda x: ops.where(x[:, 0] > 0, normal(x), -np.inf), draws=4000
    )
    assert abs(found.log_normaliser - math.log(math.sqrt(2 * math.pi) / 2)) < 4 * found.standard_error
    assert (found.resample(100) > 0).all()
    assert found.plot().axes[0].get_xlabel() == "draws, by weight"


def test_a_report_does_not_trust_weights_that_miss_a_part():
    """The funnel again: k-hat alone would trust these weights."""
    flow = built(Scale([-math.log(3.0), -math.log(100.0)]), event=2)
    reports = [flowkit.inference_report(flow, funnel_of, draws=20_000, seed=seed) for seed in range(3)]
    fooled = [found for found in reports if found.k_hat < reliable(20_000)]  # backends draw other numbers
    assert fooled
    assert not any(found.trusted for found in reports)
    for found in fooled:
        assert f"Do not trust these weights: walks from them found {found.missed:.1%}" in found.sentence
    inside = built(Unconstrain([(0, 1)] * 2), event=2, base=StudentT(5))  # walks do not leave the square
    found = flowkit.inference_report(inside, lambda x: 0 * x[:, 0] + ops.log(x[:, 1] + 1), draws=2_000)
    assert found.trusted


def test_a_stated_error_holds_wherever_walks_find_what_draws_miss():
    """A normal with a narrow one of mass 0.15 beside it: draws miss 13% of the mass, and walks find a part of that."""

    def log_density(x):
        wide, narrow = normal(x), normal(ops.subtract(x, np.array([4.0, 0.0], "float32")), 0.3)
        return ops.logaddexp(wide - math.log(2 * math.pi), narrow + math.log(0.15 / (2 * math.pi * 0.3**2)))

    flow = built(event=2, base=StudentT(1000.0))
    reports = [flowkit.inference_report(flow, log_density, draws=2000, seed=seed) for seed in range(20)]
    finding = [found for found in reports if found.missed > 0.005]
    assert len(finding) > 5
    for found in finding:
        assert abs(found.log_normaliser - math.log(1.15)) <= 4 * found.standard_error
        assert ("+-" in found.sentence) == found.trusted == math.isfinite(found.standard_error)
    assert "base=" not in "".join(found.sentence for found in reports)  # the flow has such a base


# Targets with a known answer


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("inference")


def test_the_normaliser_of_a_mixture_is_found_within_the_stated_error(benchmark):
    log_density = benchmark.mixture([(-1.0, -1.0), (1.0, 0.5)], [0.4, 0.6], 0.8)
    flow = benchmark.trained(log_density, 2, steps=80, batch=128, seed=0, layers=2, hidden=16, rate=1e-2)
    found = flowkit.inference_report(flow, log_density, draws=5000)
    assert abs(found.log_normaliser) < 4 * found.standard_error < 0.02
    assert found.effective_sample_size > 4500


@pytest.mark.long
def test_the_logistic_regression_is_found_within_the_stated_error(benchmark):
    pytest.importorskip("sklearn")
    features, log_density, truth = benchmark.target("logistic")
    keras.utils.set_random_seed(0)
    flow = benchmark.trained(
        log_density, features, steps=600, batch=128, seed=0, layers=2, hidden=32, rate=1e-2
    )
    found = flowkit.inference_report(flow, log_density)
    assert abs(found.log_normaliser - truth) < 4 * found.standard_error + 0.05
