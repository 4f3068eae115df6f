"""What diagnostics say of flows that are right, and of flows that are wrong in a known way."""

import json

import numpy as np
import pytest

import flowkit
from flowkit import Flow, diagnostics
from flowkit.bijectors import Scale, Shift
from flowkit.conditioners import MLP
from flowkit.distributions import Normal, StudentT

pytestmark = pytest.mark.one_engine


def scaled(log_scale=0.0, base=None, features=2):
    """z = exp(log_scale) x."""
    flow = Flow(Scale(log_scale), base=base)
    flow.build((None, features))
    return flow


def normal(n=1000, features=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, features)).astype("float32")


def test_a_right_flow_stays_within_the_band_and_a_wrong_scale_leaves_it_to_its_side():
    wrong = {-1: scaled(np.log(1.2)), 1: scaled(-np.log(1.2))}  # too narrow, too wide
    within = 0
    for seed in range(20):
        x = normal(seed=1000 + seed)
        within += diagnostics.coverage(scaled(), x, seed=seed).passed
        for side, flow in wrong.items():
            found = diagnostics.coverage(flow, x, seed=seed)
            assert not found.passed
            assert side * found.numbers["largest_difference"] > 0.02
    assert within >= 18


def test_the_band_holds_as_often_as_it_says():
    """Without a flow: ranks of normal numbers among normal numbers, 9 in 10 within the band of 9 in 10."""
    from flowkit.diagnostics.draws import _ranks, band

    rng, (u, lower, upper), within = np.random.default_rng(0), band(200, 300, 0.9), 0
    for _ in range(1000):
        ranks = _ranks(rng.normal(size=200), rng.normal(size=(300, 1)), rng)
        share = (ranks[:, None] < (u * 301).round()).mean(axis=0)
        within += ((lower - 1e-9 <= share) & (share <= upper + 1e-9)).all()
    assert 0.87 < within / 1000 < 0.95  # 3 standard errors are 0.03; levels of few rows are coarse


def test_a_density_that_is_no_number_is_none(monkeypatch):
    flow, x = scaled(), normal()
    scores = flow.log_prob(x)
    scores[:200] = np.nan
    monkeypatch.setattr(flow, "log_prob", lambda *args, **kwargs: scores)
    found = diagnostics.coverage(flow, x).numbers
    assert found["largest_difference"] < -0.15
    assert found["coverage"][49] < 0.45


def test_what_a_report_cannot_ask_it_leaves_out(images):
    wide = Flow(Scale(0.0), base=Normal(conditioner=MLP([8])))
    wide.build({"x": (None, 21), "context": (None, 1)})
    left = diagnostics.report(wide, normal(50, 21), normal(50, 1), draws=9, samples=100).left_out
    assert "of 21 entries none could fail" in left["calibration"]
    glow = flowkit.zoo.glow(levels=2, steps=1, width=4).adapt(images)
    heavy = Flow(glow.bijector, base=StudentT(5.0), dequantize=glow.dequantize)
    heavy.build((None, *glow.event_shape))
    left = diagnostics.report(heavy, images, samples=100).left_out
    assert left["levels"] == "got StudentT as the flow's base, expected Normal"


def test_equal_densities_are_ordered_by_chance():
    box = Flow(Shift(0.0), base=flowkit.distributions.Uniform(0.0, 1.0))
    box.build((None, 2))
    x = np.random.default_rng(0).uniform(size=(500, 2)).astype("float32")
    assert diagnostics.coverage(box, x).passed


@pytest.fixture(scope="module")
def unheard():
    """q(x | context) = N(0, 1), whatever the context is."""
    flow = Flow(Scale(0.0), base=Normal(conditioner=MLP([8])))
    flow.build({"x": (None, 2), "context": (None, 1)})
    return flow


def test_a_conditional_flow_is_compared_with_draws_of_each_row(unheard):
    x, context = normal(400), normal(400, 1, seed=1)
    for ask in (diagnostics.coverage, diagnostics.calibration):
        assert ask(unheard, x, context, draws=49).passed
        assert not ask(unheard, 1.4 * x + 0.3, context, draws=49).passed
    found = diagnostics.report(unheard, x, context, draws=19)
    assert {"coverage", "calibration"} <= found.findings.keys()
    assert found.numbers["coverage"]["draws"] == 19


def test_random_points_see_dependence_that_ranks_miss(unheard):
    x, context = normal(400), normal(400, 1, seed=1)
    assert diagnostics.tarp(unheard, x, context, draws=49).passed
    mixed = x @ np.array([[1.0, 0.95], [0.0, np.sqrt(1 - 0.95**2)]], "float32")  # N(0, 1) each, correlated
    assert diagnostics.calibration(unheard, mixed, context, draws=49).passed
    found = diagnostics.tarp(unheard, mixed, context, draws=49)
    assert not found.passed
    assert "uneven" in found.sentence
    assert found.figure.axes
    with pytest.raises(ValueError, match="tarp: got 1 rows, expected at least 2"):
        diagnostics.tarp(unheard, x[:1], context[:1])


def test_recovery_is_nothing_for_a_context_that_is_not_read(unheard):
    x, context = normal(400), normal(400, 1, seed=1)
    found = diagnostics.recovery(unheard, x, context, draws=49)
    assert np.abs(found.numbers["contraction"]).max() < 0.2
    assert np.abs(found.numbers["correlation"]).max() < 0.2
    assert found.passed is None
    assert len(found.figure.axes) == 2


def test_normality_of_another_base():
    x = np.random.default_rng(0).standard_t(3.0, size=(2000, 2)).astype("float32")
    assert diagnostics.normality(scaled(base=StudentT(3.0)), x).passed
    assert not diagnostics.normality(scaled(), x).passed


def test_normality_names_the_latent_and_sees_what_marginals_do_not():
    x = normal(1000, 5)
    x[:, 3] *= 2
    assert diagnostics.normality(scaled(features=5), x).numbers["worst_latent"] == 3
    alike = np.repeat(normal(1000, 1), 5, axis=1)  # five times the same: each entry is normal
    found = diagnostics.normality(scaled(features=5), alike)
    assert found.numbers["rejected"] == 0
    assert found.numbers["length_p"] < 1e-6


def drawing(flow, monkeypatch, rows):
    """Return the flow, whose samples are `rows`."""
    monkeypatch.setattr(flow, "sample", lambda *args, **kwargs: rows.astype("float32"))
    return flow


@pytest.fixture(scope="module")
def clothes():
    """(400 images to train on, 200 new ones, 200 others), continuous."""
    images = flowkit.data.load("fashion-mnist", limit=800).images[::, ::2, ::2, :].astype("float32")
    return images[:400], images[400:600], images[600:]


def smooth(images):
    """Return images averaged over neighbours in both directions."""
    for axis in (1, 2):
        images = (np.roll(images, 1, axis) + 2 * images + np.roll(images, -1, axis)) / 4
    return images


def of_images(shape):
    flow = Flow(Scale(0.0))
    flow.build((None, *shape))
    return flow


def test_smooth_images_are_not_called_memorised_though_they_are_nearer_to_all(clothes, monkeypatch):
    train, x, others = clothes
    flow = of_images(train.shape[1:])
    for new in (others, smooth(others), smooth(smooth(others)), np.repeat(train.mean(0)[None], 200, axis=0)):
        found = diagnostics.memorisation(drawing(flow, monkeypatch, new), x, train)
        assert found.passed
    assert found.numbers["median_distance_of_samples"] < found.numbers["median_distance_of_test"]


def test_copies_are_found_and_counted(clothes, monkeypatch):
    train, x, others = clothes
    flow, noise = of_images(train.shape[1:]), np.random.default_rng(0).normal(0, 20, (200, *train.shape[1:]))
    twice = np.concatenate([train, train])  # rows that are stored twice
    for learned, rows in ((train[:200] + noise, train), (smooth(train[:200]), train), (train[:200], twice)):
        assert not diagnostics.memorisation(drawing(flow, monkeypatch, learned), x, rows).passed
    few = np.concatenate([train[:10], others[10:]])
    assert diagnostics.memorisation(drawing(flow, monkeypatch, few), x, train).numbers["copies"] == 10


def test_memorisation_passes_as_often_as_it_says_and_finds_draws_that_lean_on_rows(monkeypatch):
    passed = leaning = 0
    for seed in range(100):
        flow, rng = scaled(features=5), np.random.default_rng(seed)
        x, train, new = normal(100, 5, 3 * seed), normal(200, 5, 3 * seed + 1), normal(100, 5, 3 * seed + 2)
        passed += diagnostics.memorisation(drawing(flow, monkeypatch, new), x, train).passed
        kernels = train[rng.integers(0, 200, 100)] + 0.4 * new
        leaning += not diagnostics.memorisation(drawing(flow, monkeypatch, kernels), x, train).passed
    assert passed >= 97
    assert leaning >= 90


def test_raw_density_fails_where_the_other_scores_hold_up():
    flow, background = scaled(features=100), scaled(np.log(2.0), features=100)
    x = normal(300, 100)
    found = diagnostics.outliers(flow, x, 0.5 * normal(300, 100, seed=1), background=background)
    assert found.numbers["auroc"] == {"log_prob": 0.0, "typicality": 1.0, "likelihood_ratio": 1.0}
    assert "more likely than its own" in found.sentence


def test_a_report_of_images_is_saved_whole(images, tmp_path):
    flow = flowkit.zoo.glow(levels=2, steps=1, width=4).adapt(images)
    found = diagnostics.report(flow, images, train=images, outside=images[:, ::-1], samples=100)
    assert found.left_out.keys() == {"calibration", "recovery", "tarp"}
    assert found.numbers["memorisation"]["test_copies"] == len(images)
    found.save(tmp_path / "new")
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"diagnostics.json", *(f"{name}.png" for name in found.findings)}
    told = json.loads((tmp_path / "new" / "diagnostics.json").read_text())
    assert told["findings"]["levels"]["latents"] == [32, 32]
    assert found._repr_html_().count("<img") == len(found.findings)
    assert "left out" in str(found)
