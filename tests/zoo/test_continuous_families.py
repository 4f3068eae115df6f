"""FFJORD and flow matching by one call each: they learn, score their own draws, and condition on a context."""

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import zoo
from flowkit.objectives import FlowMatching

pytestmark = pytest.mark.two_engines

RNG = np.random.default_rng(0)
CONTEXT = RNG.normal(size=(512, 2)).astype("float32")
X = (20 + 3 * (CONTEXT + 0.3 * RNG.normal(size=(512, 2)))).astype("float32")


@pytest.mark.parametrize(
    ("family", "loss"),
    [
        ("ffjord", None),
        ("flow_matching", FlowMatching()),
        pytest.param("flow_matching", FlowMatching("cosine", pairs="optimal"), marks=pytest.mark.one_engine),
    ],
)
def test_it_learns_and_scores_its_own_draws(family, loss):
    keras.utils.set_random_seed(0)
    flow = getattr(zoo, family)(features=2, hidden=[16], steps=3)
    flow.compile(keras.optimizers.Adam(1e-2), loss=loss)
    history = flow.fit(X, batch_size=64, epochs=2, verbose=0).history["loss"]
    assert history[-1] < history[0]
    samples, log_q = flow.sample_and_log_prob(16, seed=0)
    np.testing.assert_allclose(flow.log_prob(samples), log_q, atol=0.05)
    assert flow.exact == "exact"


@pytest.mark.one_engine
@pytest.mark.parametrize("family", ["ffjord", "flow_matching"])
def test_it_hears_a_context_and_is_saved(family, perturb, tmp_path):
    options = {"optional": True, "guidance": 1.0} if family == "flow_matching" else {"layers": 2}
    flow = getattr(zoo, family)(features=2, context=2, hidden=[8], steps=2, **options)
    flow.adapt(X, CONTEXT)
    perturb(flow)
    given, other = (
        ops.convert_to_numpy(flow({"x": X[:8], "context": c})) for c in (CONTEXT[:8], -CONTEXT[:8])
    )
    assert np.abs(given - other).max() > 1e-3
    flow.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(ops.convert_to_numpy(again({"x": X[:8], "context": CONTEXT[:8]})), given)


@pytest.mark.one_engine
def test_many_features_are_estimated():
    assert zoo.ffjord(features=17, hidden=[8]).exact == "estimate"
    assert zoo.flow_matching(features=17, hidden=[8], trace="exact").exact == "exact"
