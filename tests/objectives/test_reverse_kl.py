"""Reverse KL: a flow that learns a density without data, and a posterior for each row of a context."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Chain, Coupling, Scale, Shift
from flowkit.conditioners import MLP
from flowkit.objectives import ReverseKL
from flowkit.transforms import Affine


def numpy(tensor):
    return ops.convert_to_numpy(ops.stop_gradient(tensor)).astype("float64")


@pytest.mark.long
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


@pytest.mark.one_engine
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
    assert [len(batch) for batch in dealt] == [10] + [4] * 15  # first a check
    turns = np.concatenate(dealt[1:]).reshape(6, 10)
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
