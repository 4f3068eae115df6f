"""Drift of reversible chains inside `fit`, whose steps are one program on some engines."""

import contextlib
import warnings

import keras
import numpy as np
import pytest

from flowkit import Flow, backends, zoo
from flowkit.bijectors import ActNorm, Chain, Shift

pytestmark = pytest.mark.skipif(not backends.SUPPORTS_TRAINING, reason="nothing is trained on this engine")

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")


def drifting(**options):
    """A flow of two reversible chains, of which the first loses what is small."""
    lossy = Chain([Shift(1e4), Shift(-1e4)], backprop="reversible", name="lossy")
    exact = Chain([Shift(1.0), Shift(-1.0)], backprop="reversible", name="exact")
    flow = Flow(Chain([ActNorm(), lossy, exact]))
    flow.compile("adam", **options)
    return flow


def told(train):
    """The names of the chains that warn while `train` runs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train()
    messages = [str(w.message) for w in caught if "rebuilt" in str(w.message)]
    return [name for message in messages for name in ("lossy", "exact") if f"'{name}'" in message]


# 3 batches: one group is short. PyTorch takes no steps together.
@pytest.mark.parametrize("at_once", [1] if backends.name() == "torch" else [1, 2, 4])
def test_fit_tells_of_the_chain_that_drifts_once(at_once):
    flow = drifting(steps_per_execution=at_once)
    history = []
    assert told(lambda: history.append(flow.fit(X, batch_size=8, epochs=2, verbose=0))) == ["lossy"]
    assert not any("drift" in name for name in history[0].history)


def test_a_batch_tells_too():
    flow = drifting()
    flow.adapt(X)
    logs = []
    assert told(lambda: logs.append(flow.train_on_batch(X, return_dict=True))) == ["lossy"]
    assert "drift" not in logs[0]


@pytest.mark.skipif(backends.name() != "jax", reason="other engines tell of drift inside of the step")
@pytest.mark.parametrize("how", ["at once", "eagerly", "distributed"])
def test_of_steps_that_are_taken_together_the_worst_is_told(monkeypatch, how):
    step = backends.lean_train_step

    def drifts(model, own, state, x):
        logs, state = step(model, own, state, x)
        return {**logs, "drift": keras.ops.stack([keras.ops.max(x)] * 2)}, state

    monkeypatch.setattr(backends, "lean_train_step", drifts)
    devices = keras.distribution.DataParallel(devices=["cpu:0"]) if how == "distributed" else None
    with contextlib.nullcontext() if devices is None else devices.scope():
        flow = drifting(steps_per_execution=2, run_eagerly=how == "eagerly")
        x = np.concatenate([abs(X[:8]), -abs(X[:8])])  # the first step drifts, the second does not
        assert sorted(told(lambda: flow.fit(x, batch_size=8, shuffle=False, verbose=0))) == ["exact", "lossy"]


@pytest.mark.skipif(backends.name() != "jax", reason="only JAX writes over the weights in a step")
@pytest.mark.parametrize("batch_size", [8, 24], ids=["in a step", "at the end"])
def test_a_warning_that_is_an_error_leaves_the_weights(batch_size):
    flow = drifting()
    flow.adapt(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="rebuilt"):
            flow.fit(X, batch_size=batch_size, epochs=8, verbose=0)
    assert np.isfinite(flow.log_prob(X)).all()
    flow.fit(X, batch_size=batch_size, verbose=0)
    assert np.isfinite(flow.log_prob(X)).all()


@pytest.mark.skipif(backends.name() != "jax", reason="other engines tell of drift inside of the step")
def test_of_a_fit_that_failed_the_next_one_tells_nothing():
    from flowkit.backends.jax import drift

    class Late:
        """Drift that the device has not computed yet."""

        def __array__(self, *args, **kwargs):
            return np.array([1.0], "float32")

        def is_ready(self):
            return False

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise OSError("no room for a checkpoint")

    def step(state, iterator):
        next(iterator)
        return {"loss": 0.0, drift.NAME: Late()}, state

    flow = drifting()
    flow.fit(X, batch_size=8, verbose=0)
    heard = []
    flow.train_function = backends.giving_back(drift.Listening(step, lambda: [heard.append]), flow)
    with pytest.raises(OSError, match="no room"):
        flow.fit(X, batch_size=8, verbose=0, callbacks=[Stop()])
    assert not heard
    flow.fit(X, batch_size=8, verbose=0)
    assert heard == [1.0] * 3


def test_a_step_of_ones_own_tells_too():
    class Own(Flow):
        def train_step(self, *given):
            return keras.Model.train_step(self, *given)

    lossy = Chain([Shift(1e4), Shift(-1e4)], backprop="reversible", name="lossy")
    flow = Own(Chain([ActNorm(), lossy]))
    flow.compile("adam")

    def train():
        flow.fit(X, batch_size=8, verbose=0)
        if backends.name() == "jax":
            import jax

            jax.effects_barrier()

    assert told(train) == ["lossy"]


def test_no_drift_no_word():
    flow = zoo.glow(levels=2, steps=1, width=4, backprop="reversible", input_shape=(4, 4, 1))
    flow.compile("adam")
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1)).astype("uint8")
    assert told(lambda: flow.fit(images, batch_size=4, verbose=0)) == []


@pytest.mark.skipif(backends.name() != "jax", reason="other engines take Keras's own step")
def test_a_step_that_tells_of_drift_is_kerass(monkeypatch):
    def trained():
        keras.utils.set_random_seed(0)
        flow = drifting()
        history = flow.fit(X, batch_size=8, epochs=2, verbose=0).history
        return history, [keras.ops.convert_to_numpy(v) for v in flow.weights + flow.optimizer.variables]

    history, state = trained()
    monkeypatch.setattr(backends, "lean_train_step", lambda model, own, *given: own(*given))
    kerass, expected = trained()
    assert history == kerass
    for one, other in zip(state, expected, strict=True):
        np.testing.assert_array_equal(one, other)
