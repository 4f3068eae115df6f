"""Draws that carry gradients: their density is the flow's, their gradient that of the way they were made."""

import keras
import numpy as np
import pytest
from arrays import array
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Chain, Coupling, Scale, Shift
from flowkit.conditioners import MLP
from flowkit.contract import ContractError
from flowkit.distributions import Mixture, Normal, StudentT
from flowkit.engines import engine
from flowkit.objectives import Objective, ReverseKL
from flowkit.surjections import Slice


def made(perturb, bijector=None, base=None, context=None):
    flow = Flow(Chain([Coupling(MLP([8])), Shift()]) if bijector is None else bijector, base)
    flow.build((None, 2) if context is None else {"x": (None, 2), "context": context})
    return perturb(flow)


@pytest.mark.parametrize("base", [Normal, StudentT, lambda: Normal(learn=True), lambda: Mixture(3)])
def test_log_q_is_the_density_of_the_draws(perturb, base):
    flow = made(perturb, base=base())
    x, log_q = flow.draw(50, seed=0)
    assert (tuple(x.shape), tuple(log_q.shape)) == ((50, 2), (50,))
    error = 64 * np.finfo("float32").eps * np.abs(array(log_q)).max()
    np.testing.assert_allclose(flow.log_prob(array(x)), array(log_q), atol=error)


def test_each_row_of_a_context_has_as_many_draws(perturb):
    flow = made(perturb, Coupling(MLP([8], context="required")), context=(None, 3))
    context = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    x, log_q = flow.draw(5, context, seed=0)
    assert (tuple(x.shape), tuple(log_q.shape)) == ((5, 4, 2), (5, 4))
    for row, log_row in zip(array(x), array(log_q), strict=True):
        np.testing.assert_allclose(flow.log_prob(row, context), log_row, atol=1e-5)
    with pytest.raises(ContractError, match="context"):
        flow.draw(5)


def test_gradients_are_those_of_the_shift_and_the_scale():
    """x = (z - shift) exp(-log_scale): the mean of x has the gradients -exp(-log_scale) and -mean(x)."""
    flow = Flow(Chain([Scale(), Shift()]))
    flow.build((None, 1))
    shift, scale = (
        next(w for w in flow.trainable_variables if word in w.name) for word in ("shift", "scale")
    )
    shift.assign([0.7])
    scale.assign([0.3])
    x, _ = flow.draw(64, seed=0)
    drawn = array(x).mean()

    def mean(values):
        with keras.StatelessScope(state_mapping=[(scale, values[0]), (shift, values[1])]):
            return ops.mean(flow.draw(64, seed=0)[0])

    value, (of_scale, of_shift) = engine.gradients(mean, [array(scale), array(shift)])
    np.testing.assert_allclose(array(value), drawn, rtol=1e-6)
    np.testing.assert_allclose(array(of_shift), [-np.exp(-0.3)], rtol=1e-5)
    np.testing.assert_allclose(array(of_scale), [-drawn], rtol=1e-5)


def gradients_of(loss, flow, start):
    """The gradients of the mean of an objective with respect to all weights, with the draws that follow a seed."""

    def mean(values):
        own = list(zip(flow.trainable_variables, values, strict=True))
        with keras.StatelessScope(state_mapping=[*own, (flow.sampler.state, start)]):
            return ops.mean(loss(flow, ops.zeros((256, 0)), None))

    value, gradients = engine.gradients(mean, [array(w) for w in flow.trainable_variables])
    return array(value), [array(g) for g in gradients]


def test_sticking_the_landing_leaves_no_noise_where_the_flow_is_its_target(perturb):
    flow = made(perturb)
    start = array(flow.sampler.state)
    target = [array(w) for w in flow.trainable_variables]

    def log_density(x):
        with keras.StatelessScope(state_mapping=list(zip(flow.trainable_variables, target, strict=True))):
            return flow._log_density(x, None)

    value, stuck = gradients_of(ReverseKL(log_density), flow, start)
    whole_value, whole = gradients_of(ReverseKL(log_density, stick_the_landing=False), flow, start)
    np.testing.assert_allclose([value, whole_value], 0, atol=1e-5)
    assert max(np.abs(g).max() for g in whole) > 0.02  # of the order of 1 / sqrt(256)
    assert max(np.abs(g).max() for g in stuck) < 1e-4  # rounding


@pytest.mark.every_engine
@pytest.mark.parametrize("bijector", [Shift, lambda: Slice(1)])
def test_a_whole_number_as_seed_gives_the_same_draws_in_each_step(bijector):
    class Same(Objective):
        """log q(x) + |x|^2 / 2 of the same draws each time."""

        needs_data = False

        def __call__(self, flow, x, context):
            draws, log_q = flow.draw(32, seed=7)
            return log_q + 0.5 * ops.sum(ops.square(draws), axis=-1)

    flow = Flow(bijector())
    flow.build((None, 2))
    flow.compile(keras.optimizers.SGD(0.0), loss=Same())
    history = flow.fit(steps_per_epoch=3, epochs=2, batch_size=32, verbose=0).history["loss"]
    x, log_q = (array(part) for part in flow.draw(32, seed=7))
    np.testing.assert_allclose(history, (log_q + 0.5 * (x**2).sum(1)).mean(), rtol=1e-5)
