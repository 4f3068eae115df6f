"""FFJORD and flow matching by one call each: they learn, score their own draws, and condition on a context."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import zoo
from flowkit.app import main
from flowkit.objectives import FlowMatching

RNG = np.random.default_rng(0)
CONTEXT = RNG.normal(size=(512, 2)).astype("float32")
X = (20 + 3 * (CONTEXT + 0.3 * RNG.normal(size=(512, 2)))).astype("float32")
BENT = X + (X[:, ::-1] - 20) ** 2 * [0, 0.3]  # X alone is normal, which leaves nothing to learn


@pytest.mark.parametrize(
    ("family", "loss"),
    [
        pytest.param("ffjord", None, marks=pytest.mark.two_engines),
        ("flow_matching", FlowMatching()),
        ("flow_matching", FlowMatching("cosine", pairs="optimal")),
    ],
)
def test_it_learns_and_scores_its_own_draws(family, loss):
    keras.utils.set_random_seed(0)
    flow = getattr(zoo, family)(features=2, hidden=[16], steps=3)
    flow.compile(keras.optimizers.Adam(1e-2), loss=loss)
    history = flow.fit(BENT, batch_size=64, epochs=2, verbose=0).history["loss"]
    assert history[-1] < history[0]
    samples, log_q = flow.sample_and_log_prob(16, seed=0)
    np.testing.assert_allclose(flow.log_prob(samples), log_q, atol=0.05)
    assert flow.exact == "exact"


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


def test_many_features_are_estimated():
    assert zoo.ffjord(features=17, hidden=[8]).exact == "estimate"
    assert zoo.flow_matching(features=17, hidden=[8], trace="exact").exact == "exact"


IMAGES = (RNG.random((64, 4, 4, 1)) * 256).astype("uint8")


def test_images_are_matched_scored_and_drawn():
    keras.utils.set_random_seed(0)
    flow = zoo.flow_matching(input_shape=(4, 4, 1), hidden=[8, 8], solver="midpoint", steps=4)
    flow.compile(keras.optimizers.Adam(1e-2), loss=FlowMatching())
    before = flow.bits_per_dim(IMAGES).mean()
    flow.fit(IMAGES, batch_size=32, epochs=3, verbose=0)
    # The loss itself is the mean of a few draws of the time and the noise, which vary more than it falls.
    assert flow.bits_per_dim(IMAGES).mean() < before - 0.03
    samples = flow.sample(4, seed=0, steps=2)
    assert samples.shape == (4, 4, 4, 1)
    assert samples.dtype == "uint8"
    np.testing.assert_array_equal(flow.decode(flow.encode(IMAGES[:4])), IMAGES[:4])
    assert 5 < flow.bits_per_dim(IMAGES[:8]).mean() < 12


def test_probabilities_of_all_images_add_up(perturb):
    """Bits per dimension by the solver are right: those of 16 images add up to the part of draws that are in range."""
    solved = {"trace": "exact", "solver": "midpoint", "steps": 4}
    flow = zoo.flow_matching(input_shape=(2, 2, 1), data_levels=2, hidden=[8], **solved)
    perturb(flow.bijector.parts[-1], scale=0.3)
    images = np.array(list(np.ndindex(2, 2, 2, 2)), "uint8").reshape(16, 2, 2, 1)
    log_prob = -flow.bits_per_dim(images, samples=32) * 4 * np.log(2)
    z = np.random.default_rng(0).normal(size=(2500, 1, 1, 4)).astype("float32")
    drawn = ops.convert_to_numpy(flow.bijector.inverse(z)[0])
    inside = (np.abs(drawn) <= 0.5).all(axis=(1, 2, 3)).mean()
    assert np.exp(log_prob).sum() == pytest.approx(inside, abs=0.04)  # four standard errors of the draws


def test_labels_guide_images():
    flow = zoo.flow_matching(
        input_shape=(4, 4, 1), num_classes=3, hidden=[8], steps=2, optional=True, guidance=2.0
    )
    flow.compile(keras.optimizers.Adam(1e-2), loss=FlowMatching(drop_context=0.2))
    labels = np.arange(64) % 3
    flow.fit(IMAGES, labels, batch_size=32, epochs=2, verbose=0)
    drawn = flow.sample(2, np.array([0, 1, 2]), seed=0)
    assert drawn.shape == (2, 3, 4, 4, 1)
    assert np.abs(drawn[0, 0].astype(int) - drawn[0, 1]).max() > 0
    for wrong, told in (
        ({"features": 2, "input_shape": (4, 4, 1)}, "features: got 2, expected none beside input_shape"),
        ({"features": 2, "num_classes": 3}, "num_classes: got 3, expected None without input_shape"),
    ):
        with pytest.raises(ValueError, match=told):
            zoo.flow_matching(**wrong)


def test_a_teacher_pairs_data_with_its_latents():
    """Reflow: with the field of a teacher whose lines are straight, the loss is 0."""
    flows = [zoo.flow_matching(features=2, hidden=[8], steps=4) for _ in range(2)]
    for flow in flows:
        flow.adapt(X)
    teacher, pupil = flows
    # A field of zeros at first: latents are the standardised data, and their lines do not move.
    loss = FlowMatching(teacher=teacher)
    pupil.compile("adam", loss=loss)
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss(pupil, ops.convert_to_tensor(X), None)), 0, atol=1e-8
    )
    with pytest.raises(ValueError, match="expected 'independent' with a teacher"):
        pupil.compile("adam", loss=FlowMatching(teacher=teacher, pairs="optimal"))


@pytest.mark.parametrize("trace", ["exact", "rademacher"])
def test_evaluate_reports_the_evaluations_of_the_field(tmp_path, capsys, trace):
    flow = zoo.ffjord(features=2, layers=2, hidden=[4], steps=3, trace=trace)
    flow.adapt(X)
    flow.save(tmp_path / "flow.keras")
    np.savetxt(tmp_path / "rows.csv", X, delimiter=",")
    told = ["evaluate", str(tmp_path / "flow.keras"), "--data", str(tmp_path / "rows.csv"), "--json"]
    assert main(told) == 0
    assert json.loads(capsys.readouterr().out)["function_evaluations"] == 2 * 4 * 3
