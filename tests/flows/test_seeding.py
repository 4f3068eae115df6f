"""Functions that train by `seed=` depend on it alone, and leave the global generators as they are."""

import random

import keras
import numpy as np
import pandas as pd
import pytest

import flowkit
from flowkit.app.experiment import prepare
from flowkit.app.recipe import parse_recipe
from flowkit.engines import engine
from flowkit.evaluation import c2st

pytestmark = pytest.mark.two_engines

SMALL = {"layers": 2, "hidden": [8], "epochs": 2, "verbose": 0}
READER = keras.Sequential([keras.layers.Dense(3), keras.layers.Dropout(0.5)])
ROWS = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")


def table(seed):
    frame = pd.DataFrame({"size": ROWS[:, 0], "kind": np.where(ROWS[:, 1] > 0, "a", "b")})
    return flowkit.fit_table(frame, seed=seed, **SMALL).get_weights()


def posterior(seed, **options):
    options = SMALL | {"embedding": READER} | options
    found = flowkit.posterior(
        lambda theta: theta + 0.1, [(0, 1), (0, 2)], simulations=60, seed=seed, **options
    )
    return found.flow.get_weights()


def two_rounds(seed):
    return posterior(seed, embedding=None, method="nle", rounds=2, observation=[0.5, 1.0])


def recipe(seed):
    text = '[model]\nname = "glow"\nlevels = 1\nsteps = 1\nwidth = 4\n[data]\nsource = "digits"\nlimit = 64'
    return prepare(parse_recipe(text, [("training.seed", seed)])).flow.get_weights()


def classifier(seed):
    return [c2st(ROWS, 0.8 * ROWS[::-1] + 0.3, folds=2, epochs=2, seed=seed)]


def global_states():
    """Return the states of the generators that all code shares."""
    states = {"random": random.getstate(), "numpy": repr(np.random.get_state())}
    if engine.name == "torch":
        import torch

        states["torch"] = torch.get_rng_state().tolist()
    return states


@pytest.mark.parametrize("trained", [posterior, table, two_rounds, recipe, classifier])
def test_training_depends_on_its_seed_alone_and_touches_no_global_generator(trained, monkeypatch):
    monkeypatch.setattr("flowkit.flow.tempering._SWEEPS", 8)
    keras.utils.set_random_seed(1)
    before = global_states()
    first = trained(0)
    assert global_states() == before
    keras.utils.set_random_seed(2)
    for one, other in zip(first, trained(0), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    if trained is not classifier:
        assert any(not np.array_equal(one, other) for one, other in zip(first, trained(1), strict=True))
