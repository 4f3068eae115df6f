"""The hand-written twin of the benchmarks: with flowkit's weights it is flowkit's flow, in training too."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from arrays import array

from flowkit.engines import engine

IMAGES = {"size": 8, "levels": 2, "steps": 2, "width": 4, "batch": 4}
VECTORS = {"features": 6, "layers": 3, "width": 5, "batch": 16}

pytestmark = pytest.mark.skipif(engine.name != "jax", reason="the twin is written in JAX")


@pytest.fixture
def contenders(monkeypatch):
    """{kind: (flow, twin's module, function from the flow's weights to the twin's, contender with them, data)}."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    twin, flows = (importlib.import_module(f"contenders.{name}") for name in ("twin_jax", "flowkit"))

    def made(kind):
        work = {"kind": kind, "precision": "default", **(IMAGES if kind == "images" else VECTORS)}
        rng = np.random.default_rng(0)
        x = rng.normal(size=(work["batch"], *((8, 8, 3) if kind == "images" else (6,)))).astype("float32")
        flow = getattr(flows, kind)(work, x).flow
        for weight in flow.trainable_variables:  # networks end in zeros
            weight.assign(array(weight) + 0.02 * rng.normal(size=weight.shape))
        if kind == "images":
            kept = [[array(v) for v in flow.variables if v.name.endswith(name)] for name in ("_P", "_sign")]
            model = twin.Glow(work, list(zip(*kept, strict=True)))
        else:
            model = twin.Couplings(work)
        order = glow_weights if kind == "images" else couplings_weights
        return flow, model, twin.contender(model, as_jax(order(values(flow))), work, x), order, x

    return made


def values(flow):
    return [array(weight) for weight in flow.trainable_variables]


def as_jax(tree):
    return importlib.import_module("jax").tree.map(importlib.import_module("jax.numpy").asarray, tree)


def couplings_weights(given):
    """Two for each of three layers of each network, stacked over networks."""
    layers = [[np.stack(given[i::6]) for i in (2 * layer, 2 * layer + 1)] for layer in range(3)]
    return [tuple(layer) for layer in layers]


def glow_weights(given):
    """Fourteen for all steps of a level, then three for each prior."""
    given, levels = iter(given), []
    for _ in range(IMAGES["levels"]):
        all_alike = [next(given) for _ in range(14)]
        named = dict(zip(("shift", "logs", "lower", "upper", "log_s"), all_alike[:5], strict=True))
        levels.append({**named, "net": tuple(tuple(all_alike[i : i + 3]) for i in (5, 8, 11))})
    priors = [tuple(next(given) for _ in range(3)) for _ in range(IMAGES["levels"])]
    assert next(given, None) is None
    return {"levels": levels, "priors": priors}


@pytest.mark.parametrize("kind", ["images", "vectors"])
@pytest.mark.two_engines
@pytest.mark.long
def test_its_densities_samples_and_training_step_are_those_of_the_flow(contenders, kind):
    flow, model, contender, order, x = contenders(kind)
    np.testing.assert_allclose(array(contender.log_prob()), flow.log_prob(x), rtol=1e-5, atol=1e-4)
    z = flow.encode(x)  # others may lie where scales are 0 in float32
    decoded = array(model.decode(contender.weights, z))
    np.testing.assert_allclose(decoded, flow.decode(z, check=None), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(decoded, x, atol=1e-2)
    assert array(contender.sample()).shape == x.shape
    flow.fit(x, batch_size=len(x), epochs=1, shuffle=False, verbose=0)
    contender.train(1, lambda: None)
    tree = importlib.import_module("jax").tree
    moments = [array(v) for v in flow.optimizer.variables if "momentum" in v.path]
    assert len(moments) == len(flow.trainable_variables)
    found, first = contender.weights, contender.state[0]
    pairs = [tree.leaves(part) for part in (found, order(values(flow)), first, order(moments))]
    for ours, theirs, moment, own in zip(*pairs, strict=True):
        largest = np.abs(own).max()
        assert np.isfinite(largest)
        assert np.isfinite(theirs).all()
        np.testing.assert_allclose(array(moment), own, rtol=1e-3, atol=1e-4 * max(largest, 1e-6))
        clear = np.abs(own) > 1e-2 * largest  # Adam's first step is the sign of a gradient, and 0 has none
        np.testing.assert_allclose(array(ours)[clear], theirs[clear], rtol=1e-6, atol=2e-6)
