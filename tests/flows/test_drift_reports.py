"""Drift of reversible chains inside `fit`, whose steps are one program on some engines."""

import warnings

import keras
import numpy as np
import pytest

from flowkit import Flow, zoo
from flowkit.bijectors import ActNorm, Chain, Shift
from flowkit.engines import engine

# TensorFlow's graphs add the two shifts first, and so lose nothing.
COMPILING = {"run_eagerly": True} if engine.name == "tensorflow" else {}
X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")


def drifting(**options):
    """A flow of two reversible chains, of which the first loses what is small."""
    lossy = Chain([Shift(1e4), Shift(-1e4)], backprop="reversible", name="lossy")
    exact = Chain([Shift(1.0), Shift(-1.0)], backprop="reversible", name="exact")
    flow = Flow(Chain([ActNorm(), lossy, exact]))
    flow.compile("adam", **COMPILING, **options)
    return flow


def told(train):
    """The names of the chains that warn while `train` runs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train()
    messages = [str(w.message) for w in caught if "rebuilt" in str(w.message)]
    return [name for message in messages for name in ("lossy", "exact") if f"'{name}'" in message]


# 3 batches: one group is short. PyTorch and eager TensorFlow take no steps together.
@pytest.mark.parametrize("at_once", [1, 2, 4] if engine.name == "jax" else [1])
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


@pytest.mark.skipif(engine.name != "jax", reason="other engines report drift inside the step")
@pytest.mark.parametrize("batch_size", [8, 24], ids=["in a step", "at the end"])
def test_a_warning_that_is_an_error_is_printed_and_leaves_the_weights(batch_size, capfd):
    flow = drifting()
    flow.adapt(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.fit(X, batch_size=batch_size, epochs=8, verbose=0)
    assert "'lossy': in the backward pass its input was rebuilt" in capfd.readouterr().err
    assert np.isfinite(flow.log_prob(X)).all()


def test_a_step_of_ones_own_tells_too():
    class Own(Flow):
        def train_step(self, *given):
            return keras.Model.train_step(self, *given)

    lossy = Chain([Shift(1e4), Shift(-1e4)], backprop="reversible", name="lossy")
    flow = Own(Chain([ActNorm(), lossy]))
    flow.compile("adam", **COMPILING)
    assert told(lambda: flow.fit(X, batch_size=8, verbose=0)) == ["lossy"]


@pytest.mark.one_engine
def test_no_drift_no_word():
    flow = zoo.glow(levels=2, steps=1, width=4, backprop="reversible", input_shape=(4, 4, 1))
    flow.compile("adam")
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1)).astype("uint8")
    assert told(lambda: flow.fit(images, batch_size=4, verbose=0)) == []
