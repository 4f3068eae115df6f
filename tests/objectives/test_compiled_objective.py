"""An objective given to `compile`: what it is asked, what is reported, and what is refused."""

import keras
import numpy as np
import pytest
from keras import ops
from small_objectives import Squares, X, around_three, built, fit, standard_normal, weights

from flowkit import Flow, training
from flowkit.bijectors import Chain, Coupling, Shift
from flowkit.conditioners import MLP
from flowkit.engines import engine
from flowkit.objectives import FlowMatching, MaximumLikelihood, ReverseKL


def test_maximum_likelihood_is_what_no_loss_means():
    histories, ends = [], []
    for options in ({}, {"loss": None}, {"loss": MaximumLikelihood()}):
        keras.utils.set_random_seed(0)
        flow = Flow(Chain([Coupling(MLP([8])), Shift()]))
        flow.compile(keras.optimizers.Adam(0.01), **options)
        histories.append(fit(flow, X, epochs=2))
        ends.append(weights(flow))
    assert histories[0] == histories[1] == histories[2]
    assert histories[0].keys() == {"loss"}
    for end in ends[1:]:
        for one, other in zip(ends[0], end, strict=True):
            np.testing.assert_array_equal(one, other)


def test_another_objective_is_what_is_minimised_and_likelihood_is_not_told():
    flow, objective = built(), Squares()
    flow.compile(keras.optimizers.SGD(0.0), loss=objective)
    history = fit(flow, X, validation_data=X, batch_size=64)
    assert objective.asked
    assert history.keys() == {"loss", "val_loss", "val_nll"}
    np.testing.assert_allclose(history["loss"][0], np.square(X).sum(-1).mean(), rtol=1e-6)
    nll = -flow.log_prob(X).mean()
    np.testing.assert_allclose([history["val_loss"][0], history["val_nll"][0]], [nll, nll], rtol=1e-6)
    assert flow.evaluate(X, verbose=0, return_dict=True)["nll"] == pytest.approx(nll, rel=1e-6)
    assert flow.test_on_batch(X, return_dict=True)["nll"] == pytest.approx(nll, rel=1e-6)
    np.testing.assert_array_equal(flow.predict(X, verbose=0), flow.log_prob(X))


def test_weights_of_samples_weigh_the_objective():
    flow = built()
    flow.compile(keras.optimizers.SGD(0.0), loss=Squares())
    chosen = (np.arange(64) < 16).astype("float32")
    history = fit(flow, X, sample_weight=chosen, batch_size=64)
    np.testing.assert_allclose(history["loss"][0], (chosen * np.square(X).sum(-1)).sum() / 64, rtol=1e-6)


# What an objective refuses


def test_a_refused_objective_leaves_the_flow_as_it_was():
    flow = built()
    flow.compile("adam")
    with pytest.raises(TypeError):
        flow.compile("adam", loss=FlowMatching())
    assert isinstance(flow.objective, MaximumLikelihood)
    assert fit(flow, X).keys() == {"loss"}


# With and without data


def test_draws_follow_the_batch_size_and_the_steps():
    sizes = []

    def watched(x):
        sizes.append(x.shape)
        return standard_normal(x)

    flow = built()
    flow.compile(keras.optimizers.SGD(0.01), loss=ReverseKL(watched), run_eagerly=True)
    history = fit(flow, steps_per_epoch=3, batch_size=5, epochs=2)
    assert [tuple(size) for size in sizes] == [(256, 2)] + [(5, 2)] * 6  # first a check
    assert history.keys() == {"loss"}


def test_a_guard_skips_a_step_without_data_and_goes_on():
    def sometimes(x):
        return standard_normal(x) + ops.where(x[:, 0] > 2.5, np.nan, 0.0)

    flow = built()
    flow.compile(
        training.GuardedOptimizer(keras.optimizers.SGD(0.01, clipnorm=1.0)), loss=ReverseKL(sometimes)
    )
    fit(flow, steps_per_epoch=20, batch_size=64)
    assert 0 < int(flow.optimizer.skipped) < 20
    assert all(np.isfinite(weight).all() for weight in weights(flow))


def test_training_without_data_goes_on_where_it_was(tmp_path):
    def made():
        keras.utils.set_random_seed(0)
        flow = Flow(Coupling(MLP([4], context="required")))
        flow.build({"x": (None, 2), "context": (None, 1)})
        flow.compile(keras.optimizers.Adam(0.01), loss=ReverseKL(lambda x, c: around_three(x - c)))
        return flow

    context = np.arange(10, dtype="float32")[:, None]
    options = {"steps_per_epoch": 3, "batch_size": 4, "context": context}
    whole = made()
    fit(whole, epochs=3, **options)
    cut = made()
    fit(cut, epochs=1, callbacks=[training.Resume(tmp_path / "c.npz")], **options)
    again, resume = made(), training.Resume(tmp_path / "c.npz")
    start = resume.load(again)
    assert start == 1
    fit(again, epochs=3, initial_epoch=start, callbacks=[resume], **options)
    for one, other in zip(weights(whole), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.long
@pytest.mark.skipif(engine.name == "tensorflow", reason="covered by the others, and slow to trace")
def test_it_is_compiled_as_it_runs_eagerly():
    ends = []
    for options in ({"run_eagerly": True}, {"jit_compile": True}):
        keras.utils.set_random_seed(0)
        flow = built(Chain([Coupling(MLP([4])), Shift()]))
        flow.compile(keras.optimizers.SGD(0.01), loss=ReverseKL(around_three), **options)
        fit(flow, steps_per_epoch=3, batch_size=8)
        ends.append(weights(flow))
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
