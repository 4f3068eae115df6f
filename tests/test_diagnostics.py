"""What diagnostics say of flows that are right, and of flows that are wrong in a known way."""

import json

import numpy as np
import pandas as pd
import pytest

import flowkit
from flowkit import Flow, diagnostics
from flowkit.bijectors import Scale, Shift
from flowkit.conditioners import MLP
from flowkit.data.typed_columns import ContextColumns, TypedColumns
from flowkit.distributions import Normal, StudentT
from flowkit.tables import table_flow


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
            assert ("Train it longer" if side > 0 else "more rows") in found.sentence
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


def test_a_right_flow_gets_a_good_verdict_and_a_wrong_one_names_the_column_or_the_pair():
    good, right = 0, scaled(features=3)
    right.columns = flowkit.data.Columns(("a", "b", "c"), None)
    for seed in range(10):
        x = normal(500, 3, seed)
        good += diagnostics.verdict(right, x, seed=seed).passed is True
        found = diagnostics.verdict(right, x + np.array([0, 0.5, 0], "float32"), seed=seed)
        assert found.passed is not True
        assert found.numbers["worst_column"]["columns"] == ["b"]
        mixed = x @ np.array([[1, 0, 0.8], [0, 1, 0], [0, 0, 0.6]], "float32")  # N(0, 1) each
        found = diagnostics.verdict(right, mixed, seed=seed)
        assert found.numbers["worst_pair"]["columns"] == ["a", "c"]
        assert found.numbers["worst_pair"]["data"] > 0.7
        assert str(found) == found.sentence
        assert found.figure.axes
    assert good >= 9


def test_a_verdict_compares_with_the_copula_in_nats():
    """log p under N(0, 1) and under the true N(0, 2^2) of columns differ by E = 2 (ln 2 - 3 / 2) nats for two."""
    x, train = 2 * normal(1000), 2 * normal(4000, seed=1)
    found = diagnostics.verdict(scaled(), x, train=train)
    assert found.numbers["ahead_of_copula"] == pytest.approx(2 * (np.log(2) - 1.5), abs=0.25)
    assert found.numbers["log_prob"] == pytest.approx(float(np.mean(scaled().log_prob(x))), abs=1e-4)
    assert found.passed is False


def test_a_classifier_sees_what_correlations_do_not():
    x = normal(1000)
    bent = np.stack([x[:, 0], (x[:, 0] ** 2 - 1) / np.sqrt(2) * 0.95 + 0.3 * x[:, 1]], axis=1)
    found = diagnostics.verdict(scaled(), bent).numbers
    assert found["c2st"] > 0.7 > found["c2st_by_chance"]
    assert diagnostics.verdict(scaled(), x).numbers["c2st"] < 0.54


def test_a_verdict_follows_the_context(unheard):
    x, context = normal(400), normal(400, 1, seed=1)
    assert diagnostics.verdict(unheard, x, context, train=x, train_context=context).passed
    found = diagnostics.verdict(unheard, 0.6 * x + 0.8 * context, context)
    assert "context 0" in found.numbers["worst_pair"]["columns"]
    assert found.passed is not True
    assert "ahead_of_copula" not in diagnostics.verdict(unheard, x, context, train=x).numbers


def weather(n, seed):
    """Rain is 0 on half of the days, and a tenth of the temperatures are missing."""
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random(n) < 0.5, 0.0, rng.exponential(5, n))
    frame = pd.DataFrame(
        {"temperature": rng.normal(15, 6, n), "rain": rain, "kind": rng.choice(["a", "b"], n)}
    )
    frame.loc[rng.random(n) < 0.1, "temperature"] = np.nan
    return frame


def independent(frame, types=None, given=()):
    """The flow at its start, a Gaussian copula."""
    inferred = TypedColumns.infer(frame, types, given)
    names = [name for name in frame if name not in given]
    columns, conditions = inferred.some(names), inferred.some(given, ContextColumns)
    seen = None if conditions is None else conditions.values(frame[given])
    return table_flow(columns, conditions, layers=1, hidden=[8]).adapt(columns.values(frame[names]), seen)


def test_a_verdict_on_a_mixed_table_says_which_type_is_wrong():
    train, test = (weather(n, seed).assign(station="north") for n, seed in ((1500, 0), (500, 1)))
    found = diagnostics.verdict(independent(train), test, train=train)
    assert found.passed
    assert found.numbers["worst_column"]["columns"] != ["station"]  # a constant is right
    assert found.numbers["ahead_of_copula"] == pytest.approx(0, abs=1e-3)  # it is one
    found = diagnostics.verdict(independent(train, {"rain": "real"}), test, train=train)
    assert found.numbers["worst_column"]["columns"] == ["rain"]
    assert "types={'rain': '|0'}" in found.sentence


def test_a_verdict_on_a_conditional_table_counts_rows_that_it_excludes():
    train, test = weather(1500, 0), weather(500, 1)
    flow = independent(train, given=["kind"])
    test.loc[3, "kind"] = None
    found = diagnostics.verdict(flow, test, train=train)
    assert (found.numbers["rows"], found.numbers["refused"]) == (499, 1)
    test["rain"] = np.where(test.kind == "a", test.rain + 5.0, test.rain)
    assert "kind" in diagnostics.verdict(flow, test).numbers["worst_pair"]["columns"]


@pytest.mark.parametrize(
    ("rows", "context", "received"),
    [(normal(4), None, "4 rows"), (normal(9), np.zeros(9), "a context that is no table")],
)
def test_rows_without_a_verdict_are_refused(rows, context, received):
    with pytest.raises(ValueError, match=f"verdict: got {received}"):
        diagnostics.verdict(scaled(), rows, context)


def test_a_density_that_diverged_is_poor():
    flow = scaled(100.0)  # e^100 is infinite in float32
    assert diagnostics.verdict(flow, normal()).passed is False


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


def test_random_points_take_equal_distances_in_any_order(monkeypatch, unheard):
    """As between whole numbers, of which a posterior draws some again and again."""
    x, context = np.rint(normal(400)), normal(400, 1, seed=1)
    draw = unheard.sample
    monkeypatch.setattr(unheard, "sample", lambda *given, **options: np.rint(draw(*given, **options)))
    assert diagnostics.tarp(unheard, x, context, draws=49).passed


def test_recovery_is_nothing_for_a_context_that_is_not_read(unheard):
    x, context = normal(400), normal(400, 1, seed=1)
    found = diagnostics.recovery(unheard, x, context, draws=49)
    assert np.abs(found.numbers["contraction"]).max() < 0.2
    assert np.abs(found.numbers["correlation"]).max() < 0.2
    assert found.passed is None
    assert len(found.figure.axes) == 2
    x[:, 1] = 2.0
    with pytest.raises(ValueError, match=r"entries \[1\] of x without variance"):
        diagnostics.recovery(unheard, x, context, draws=49)


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
    assert found.left_out.keys() == {"calibration", "recovery", "tarp", "verdict"}
    assert found.numbers["memorisation"]["test_copies"] == len(images)
    found.save(tmp_path / "new")
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"diagnostics.json", *(f"{name}.png" for name in found.findings)}
    told = json.loads((tmp_path / "new" / "diagnostics.json").read_text())
    assert told["findings"]["levels"]["latents"] == [32, 32]
    assert found._repr_html_().count("<img") == len(found.findings)
    assert "left out" in str(found)
