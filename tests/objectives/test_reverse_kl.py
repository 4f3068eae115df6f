"""Reverse KL: a flow that learns a density without data, and a posterior for each row of a context."""

import keras
import numpy as np
import pytest
from arrays import f64
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Chain, Coupling, Scale, Shift
from flowkit.conditioners import MLP
from flowkit.engines import engine
from flowkit.objectives import ReverseKL


@pytest.mark.one_engine
def test_rows_of_a_context_are_dealt_out_all_of_them_before_one_comes_again():
    dealt = []

    def watched(x, context):
        dealt.append(f64(context)[:, 0].astype(int))
        return -ops.sum(ops.square(x), axis=-1)

    flow = Flow(Coupling(MLP([4], context="required")))
    flow.build({"x": (None, 2), "context": (None, 1)})
    flow.compile("sgd", loss=ReverseKL(watched), run_eagerly=True)
    rows = np.arange(10, dtype="float32")[:, None]
    flow.fit(context=rows, batch_size=4, epochs=5, verbose=0)  # 3 steps each: 60 rows
    assert [len(batch) for batch in dealt] == [10] + [4] * 15  # first a check
    turns = np.concatenate(dealt[1:]).reshape(6, 10)
    assert (np.sort(turns) == np.arange(10)).all()
    assert len({tuple(turn) for turn in turns}) == 6  # each time in another order


def test_the_normalised_normal_is_reached_and_its_loss_is_minus_the_log_of_its_integral():
    flow = Flow(Chain([Scale(), Shift()]))
    flow.build((None, 1))
    target = ReverseKL(lambda x: -0.5 * ops.sum(ops.square((x - 2.0) / 3.0), axis=-1))
    flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.2, 150)), loss=target)
    flow.fit(steps_per_epoch=150, batch_size=64, verbose=0)
    loss = f64(target(flow, ops.zeros((1000, 0)), None))
    np.testing.assert_allclose(loss, -np.log(3 * np.sqrt(2 * np.pi)), atol=0.01)


# Orders of the divergence, and annealing


def gradients_of(objective, flow, start, rows=256):
    """(the mean loss, its gradients in one vector) with the draws that follow a seed."""

    def mean(values):
        own = list(zip(flow.trainable_variables, values, strict=True))
        with keras.StatelessScope(state_mapping=[*own, (flow.sampler.state, start)]):
            return ops.mean(objective(flow, ops.zeros((rows, 1)), None))

    value, gradients = engine.gradients(mean, [f64(w) for w in flow.trainable_variables])
    return float(f64(value)), np.concatenate([f64(g).ravel() for g in gradients])


def moved():
    flow = Flow(Chain([Scale(), Shift()]))
    flow.build((None, 1))
    for weight, value in zip(flow.trainable_variables, (0.2, 0.4), strict=True):
        weight.assign([value])
    return flow


def wide(x):
    return -0.5 * ops.sum(ops.square(x / 1.3), axis=-1)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_loss_is_the_bound_of_its_order(alpha):
    flow = moved()
    start = f64(flow.sampler.state).astype("uint32")
    losses = -losses_of(ReverseKL(wide), flow, start)
    bound = np.log(np.mean(np.exp((1 - alpha) * losses))) / (1 - alpha)
    for stick in (True, False):
        value, _ = gradients_of(ReverseKL(wide, stick, alpha=alpha), flow, start)
        assert value == pytest.approx(-bound, abs=1e-5)


def losses_of(objective, flow, start):
    with keras.StatelessScope(state_mapping=[(flow.sampler.state, start)]):
        return f64(objective(flow, ops.zeros((256, 1)), None))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_both_gradients_of_an_order_agree_in_the_mean(alpha):
    """The plain gradient is that of the loss by automatic differentiation; the other leaves out a part of mean 0."""
    flow, both = moved(), []
    starts = np.random.default_rng(0).integers(0, 2**31, (60, 2)).astype("uint32")
    for stick in (True, False):
        objective = ReverseKL(wide, stick, alpha=alpha)
        both.append(np.array([gradients_of(objective, flow, start, rows=32)[1] for start in starts]))
    error = (both[0] - both[1]).std(0) / np.sqrt(len(starts))
    assert (np.abs(both[0].mean(0) - both[1].mean(0)) < 4 * error).all()


def test_the_gradient_of_an_order_is_that_of_its_loss():
    """By finite differences, with the same draws: Renyi's bound without sticking the landing."""
    flow = moved()
    start = f64(flow.sampler.state).astype("uint32")
    objective = ReverseKL(wide, False, alpha=0.5)
    _, gradient = gradients_of(objective, flow, start)
    for i, weight in enumerate(flow.trainable_variables):
        middle, ends = f64(weight), []
        for step in (0.01, -0.01):
            weight.assign(middle + step)
            ends.append(gradients_of(objective, flow, start)[0])
        weight.assign(middle)
        assert gradient[i] == pytest.approx((ends[0] - ends[1]) / 0.02, abs=2e-3)


@pytest.mark.one_engine
def test_an_annealed_density_grows_to_itself():
    seen = []

    class Watched(ReverseKL):
        def __call__(self, flow, x, context):
            seen.append(float(f64(x)[0, 0]))
            return super().__call__(flow, x, context)

    flow = moved()
    flow.compile("sgd", loss=Watched(wide, anneal=0.5), run_eagerly=True)
    flow.fit(steps_per_epoch=4, epochs=2, batch_size=8, verbose=0)
    np.testing.assert_allclose(seen, np.arange(8) / 8)
    rows, start = ops.ones((64, 1)), f64(flow.sampler.state).astype("uint32")
    losses = {}
    for done, anneal in ((0.0, 0.5), (0.25, 0.5), (0.5, 0.5), (1.0, 0.5), (0.0, 0.0)):
        with keras.StatelessScope(state_mapping=[(flow.sampler.state, start)]):
            losses[done, anneal] = f64(ReverseKL(wide, anneal=anneal)(flow, done * rows, None))
    plain = losses[0.0, 0.0]
    for done in (0.5, 1.0):
        np.testing.assert_allclose(losses[done, 0.5], plain, rtol=1e-6)
    log_p = (losses[0.0, 0.5] - plain) / 0.99
    np.testing.assert_allclose(losses[0.25, 0.5], plain + 0.5 * log_p, atol=1e-4)
