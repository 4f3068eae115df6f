"""Reverse KL: a flow that learns an energy of two moons without data, and a posterior for each row of a context."""

import keras
import numpy as np
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Chain, Coupling, Scale, Shift
from flowkit.conditioners import MLP
from flowkit.objectives import ReverseKL
from flowkit.transforms import Affine, RationalQuadratic


def two_moons(x):
    """Two moons on a ring of radius 2, left and right, alike."""
    a, b = x[:, 0], x[:, 1]
    ring = -0.5 * ops.square((ops.sqrt(a * a + b * b + 1e-12) - 2.0) / 0.2)
    sides = ops.logaddexp(-0.5 * ops.square(a - 2.0), -0.5 * ops.square(a + 2.0))
    return ring + sides


def numpy(tensor):
    return ops.convert_to_numpy(ops.stop_gradient(tensor)).astype("float64")


def test_two_moons():
    """The effective sample size (sum w)^2 / sum w^2 of the weights w = p(x) / q(x) of 4096 draws, as a part of them.

    It cannot see a moon that the flow leaves out; the integral of p, the mean of w, does: a moon is half of it.
    """
    steps = 800
    parts = [Coupling(MLP([32, 32]), RationalQuadratic(8, bound=4.0), swap=bool(i % 2)) for i in range(4)]
    flow = Flow(Chain(parts))
    flow.build((None, 2))
    rate = keras.optimizers.schedules.CosineDecay(5e-3, steps)
    flow.compile(keras.optimizers.Adam(rate), loss=ReverseKL(two_moons))
    history = flow.fit(steps_per_epoch=steps, batch_size=256, verbose=0).history
    assert history.keys() == {"loss"}

    x, log_q = flow.draw(4096, seed=1)
    weights = np.exp(numpy(two_moons(x)) - numpy(log_q))
    effective = weights.sum() ** 2 / np.square(weights).sum() / len(weights)
    side = np.linspace(-4, 4, 801)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype("float32")
    integral = np.exp(numpy(two_moons(ops.convert_to_tensor(grid)))).sum() * (side[1] - side[0]) ** 2
    print(effective, weights.mean() / integral, (numpy(x)[:, 0] < 0).mean())
    assert effective >= 0.9
    np.testing.assert_allclose(weights.mean(), integral, rtol=0.05)


def test_one_flow_learns_the_posterior_of_each_row_of_a_context():
    """p(x | c) is a normal around c of deviation 2, given up to a constant: what the flow can be exactly."""

    def log_density(x, context):
        return -0.5 * ops.sum(ops.square((x - context) / 2.0), axis=-1)

    rows = np.random.default_rng(0).uniform(-1, 1, (100, 2)).astype("float32")
    flow = Flow(Chain([conditional(False), conditional(True)]))
    flow.build({"x": (None, 2), "context": (None, 2)})
    rate = keras.optimizers.schedules.CosineDecay(2e-2, 400)
    flow.compile(keras.optimizers.Adam(rate), loss=ReverseKL(log_density))
    flow.fit(context=rows, batch_size=50, epochs=200, verbose=0)
    x = flow.sample(2000, context=rows[:5], seed=0)
    np.testing.assert_allclose(x.mean(0), rows[:5], atol=0.3)
    np.testing.assert_allclose(x.std(0), 2, atol=0.2)


def conditional(swap):
    return Coupling(MLP([32], context="required"), Affine(min_scale=0.1), swap=swap)


def test_rows_of_a_context_are_dealt_out_all_of_them_before_one_comes_again():
    dealt = []

    def watched(x, context):
        dealt.append(numpy(context)[:, 0].astype(int))
        return -ops.sum(ops.square(x), axis=-1)

    flow = Flow(Coupling(MLP([4], context="required")))
    flow.build({"x": (None, 2), "context": (None, 1)})
    flow.compile("sgd", loss=ReverseKL(watched), run_eagerly=True)
    rows = np.arange(10, dtype="float32")[:, None]
    flow.fit(context=rows, batch_size=4, epochs=5, verbose=0)  # 3 steps each: 60 rows
    assert [len(batch) for batch in dealt] == [4] * 15
    turns = np.concatenate(dealt).reshape(6, 10)
    assert (np.sort(turns) == np.arange(10)).all()
    assert len({tuple(turn) for turn in turns}) == 6  # each time in another order


def test_the_normalised_normal_is_reached_and_its_loss_is_minus_the_log_of_its_integral():
    flow = Flow(Chain([Scale(), Shift()]))
    flow.build((None, 1))
    target = ReverseKL(lambda x: -0.5 * ops.sum(ops.square((x - 2.0) / 3.0), axis=-1))
    flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 300)), loss=target)
    flow.fit(steps_per_epoch=300, batch_size=64, verbose=0)
    loss = numpy(target(flow, ops.zeros((1000, 0)), None))
    np.testing.assert_allclose(loss, -np.log(3 * np.sqrt(2 * np.pi)), atol=0.01)
