"""Alarms: contributions of columns in closed form, p-values that are uniform, and rows that cannot be."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn import datasets

import flowkit
from flowkit.data.typed_columns import TypedColumns
from flowkit.tables.conditionals import conditional
from flowkit.tables.expectation import expected

pytestmark = pytest.mark.one_engine


def drawn(covariance, rows, seed):
    found = np.random.default_rng(seed).multivariate_normal(np.zeros(3), covariance, rows)
    return pd.DataFrame(found, columns=list("abc"))


@pytest.fixture(scope="module")
def detector(normal, covariance):
    return normal.detector(drawn(covariance, 199, 1), false_alarms=0.05)


def test_contributions_of_a_normal_table_are_those_of_its_conditionals(detector, covariance):
    rows = pd.DataFrame(
        {"a": [0.0, 3.0, 5.0], "b": [0.5, -3.0, 5.0], "c": [0.2, 0.0, 5.0]}, index=list("xyz")
    )
    found = detector.explain(rows)
    precision = np.linalg.inv(covariance)
    for label, row in zip(rows.index, rows.to_numpy(), strict=True):
        lines = found[found.row == label]
        assert (np.diff(lines.surprise) <= 0).all()
        assert sorted(lines.column) == ["a", "b", "c"]
        for place, name in enumerate("abc"):
            line = lines[lines.column == name].iloc[0]
            std = precision[place, place] ** -0.5
            others = [other for other in range(3) if other != place]
            mean = -precision[place, others] @ row[others] * std**2
            z = (row[place] - mean) / std
            assert line.log_prob == pytest.approx(stats.norm.logpdf(z) - math.log(std), abs=0.01)
            assert line.surprise == pytest.approx((z * z - 1) / 2, abs=0.015)
            low, high = map(float, line.expected.removeprefix("98 % of such rows have ").split(" to "))
            ends = stats.norm.ppf([0.01, 0.99], mean, std)
            assert [low, high] == pytest.approx(ends, abs=0.25)


def test_contributions_do_not_depend_on_the_unit_but_log_prob_does(covariance):
    rows = drawn(covariance, 300, 3)
    found = []
    for unit in (1, 1000):
        scaled = rows.assign(a=rows.a * unit)
        flow = flowkit.fit_table(scaled[:200], layers=1, hidden=[8], epochs=1, effort="quick", verbose=0)
        found.append(flow.detector(scaled[200:], false_alarms=0.1).explain(scaled[200:204]))
    first, second = (one.sort_values(["row", "column"]) for one in found)
    assert second.surprise.to_numpy() == pytest.approx(first.surprise.to_numpy(), abs=0.02)
    change = np.where(first.column == "a", math.log(1000), 0.0)
    assert second.log_prob.to_numpy() == pytest.approx(first.log_prob.to_numpy() - change, abs=0.02)


def test_p_values_are_conformal(detector, covariance):
    new = drawn(covariance, 50, 5).set_axis(np.arange(100, 150))
    found = detector(new)
    assert found.index.equals(new.index)
    higher = (detector.scores[None] >= found.score.to_numpy()[:, None]).sum(axis=1)
    assert found.p_value.to_numpy() == pytest.approx((1 + higher) / 200)
    assert (found.is_outlier == (found.p_value <= 0.05)).all()
    in_polars = detector(pl.from_pandas(new))
    assert isinstance(in_polars, pl.DataFrame)
    assert in_polars["score"].to_numpy() == pytest.approx(found.score.to_numpy())


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "digits"])
def test_p_values_of_held_out_rows_are_uniform(name):
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    frame = frame.iloc[:, -12:].sample(min(len(frame), 400), random_state=0)
    cut = len(frame) // 3
    flow = flowkit.fit_table(frame[:cut], layers=1, hidden=[8], epochs=1, effort="quick", verbose=0)
    detector = flow.detector(frame[cut : 2 * cut], false_alarms=0.1, samples=2)
    p_values = detector(frame[2 * cut :]).p_value
    # Those of the calibration itself are uniform: the same law, whatever the flow.
    own = (1 + np.arange(cut)) / (1 + cut)
    assert stats.ks_2samp(p_values, own).pvalue > 0.01


@pytest.fixture(scope="module")
def mixed():
    rng = np.random.default_rng(0)
    kind = rng.choice(list("ab"), 500)
    frame = pd.DataFrame(
        {
            "kind": kind,
            "n": rng.poisson(np.where(kind == "a", 2, 20)),
            "x": np.where(rng.random(500) < 0.2, np.nan, np.exp(rng.normal(size=500))),
            "same": 1,
        }
    )
    flow = flowkit.fit_table(frame[:300], layers=2, hidden=[16], epochs=10, verbose=0)
    return frame, flow.detector(frame[300:], false_alarms=0.02)


def test_the_same_row_has_the_same_score_where_log_prob_is_a_bound(mixed):
    frame, detector = mixed
    rows = frame.iloc[[3, 4, 3]]
    score = detector(rows).score.to_numpy()
    alone = detector(frame.iloc[[3]]).score.iloc[0]
    assert [score[2], alone] == pytest.approx(
        [score[0]] * 2, abs=1e-5
    )  # but for rounding, which depends on the batch


def test_the_unusual_column_of_a_mixed_row_is_first(mixed):
    frame, detector = mixed
    row = frame[(frame.kind == "a") & frame.x.notna()].iloc[[0]]
    first = detector.explain(row.assign(n=30, x=1.0)).iloc[0]
    assert (first.column, first.value) == ("n", "30")
    first = detector.explain(row.assign(x=9.5e6)).iloc[0]
    assert (first.column, first.value) == ("x", "9,500,000")
    assert first.expected.endswith("or a missing entry")
    lines = detector.explain(row.assign(kind="z")).set_index("column")
    assert lines.log_prob["kind"] == pytest.approx(math.log(detector.flow.columns.types[0].unseen))
    assert sorted(lines.index) == ["kind", "n", "x"]
    # p(entry | others) of all entries of a column sums to 1.
    both = [detector.explain(row.assign(kind=kind)).set_index("column").log_prob["kind"] for kind in "ab"]
    unseen = detector.flow.columns.types[0].unseen
    assert np.exp(both).sum() == pytest.approx(1 - unseen, rel=1e-5)


def test_impossible_rows_name_the_entry(mixed):
    frame, detector = mixed
    rows = frame[:3].assign(n=[3, 4000, 5], x=[1.0, 2.0, -1.0])
    found = detector(rows)
    assert np.isinf(found.score).tolist() == [False, True, True]
    assert found.p_value.to_numpy()[1:] == pytest.approx(1 / 201)
    lines = detector.explain(rows)
    wrong = lines[np.isinf(lines.log_prob)]
    assert wrong[["row", "column", "value"]].to_numpy().tolist() == [[1, "n", "4000"], [2, "x", "-1"]]
    assert wrong.expected.str.startswith("expected ").all()


def test_bad_calibrations_raise_one_error(normal, detector, covariance):
    with pytest.raises(
        ValueError, match=r"got 50 rows of calibration, expected at least 99 for false_alarms=0\.01"
    ):
        normal.detector(drawn(covariance, 50, 1))
    with pytest.raises(TypeError, match="calibration: got ndarray, expected a pandas or polars DataFrame"):
        normal.detector(np.zeros((100, 3)))
    with pytest.raises(TypeError, match="got ndarray, expected a pandas"):
        detector(np.zeros((1, 3)))


def test_impossible_rows_of_the_calibration_are_a_warning(mixed):
    frame, detector = mixed
    with pytest.warns(UserWarning, match="100 of 200 rows of calibration are impossible"):
        detector.flow.detector(frame[300:].assign(n=[3, 4000] * 100), false_alarms=0.02)


def test_pyods_methods(detector, covariance):
    rows = drawn(covariance, 40, 7)
    rows.iloc[0] = [4.0, -4.0, 4.0]
    as_pyod, found = detector.as_pyod(), detector(rows)
    assert (as_pyod.predict(rows) == found.is_outlier).all()
    assert as_pyod.predict(rows.to_numpy())[0] == 1
    assert (as_pyod.decision_function(rows) == found.score).all()
    proba = as_pyod.predict_proba(rows)
    assert proba.sum(axis=1) == pytest.approx(1)
    assert proba[0, 1] == 1
    assert as_pyod.labels_.tolist() == (as_pyod.decision_scores_ > as_pyod.threshold_).tolist()
    assert as_pyod.labels_.sum() == 9  # the tenth is the threshold
    assert as_pyod.contamination == 0.05
    with pytest.raises(ValueError, match=r"got an array of shape \(40, 2\), expected \(rows, 3\)"):
        as_pyod.predict(rows.to_numpy()[:, :2])


def test_a_conditional_of_a_column_with_atoms_has_their_probabilities_beside_a_density():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": np.where(rng.random(500) < 0.4, -999.0, rng.normal(size=500))})
    (kind,) = TypedColumns.infer(frame).types
    assert kind.atoms == (-999,)

    def log_density(values):
        return np.where(values == -999, np.log(0.4), np.log(0.6) + stats.norm.logpdf(values)) + 7.0

    found = conditional(kind, np.array([-999.0, 0.5]), log_density)
    np.testing.assert_allclose(found.own, [np.log(0.4), np.log(0.6) + stats.norm.logpdf(0.5)], atol=0.01)
    case = 0.4 * np.log(0.4) + 0.6 * np.log(0.6)
    wanted = [case - np.log(0.4), case - np.log(0.6) + (0.5**2 - 1) / 2]
    np.testing.assert_allclose(found.surprise, wanted, atol=0.01)
    words = expected(found, 0, "pandas")
    assert words.startswith("98 % of such rows have -2.")
    assert words.endswith(" or -999")


def test_codes_that_a_column_proposes_are_among_those_that_it_says_it_proposes():
    rng = np.random.default_rng(0)
    zeros = rng.random(500) < 0.4
    frame = pd.DataFrame(
        {
            "rain": np.where(zeros, 0, rng.exponential(size=500)),
            "count": np.where(zeros, -1, rng.integers(0, 5000, 500)),
            "kind": rng.choice(["a", "b"], 500),
        }
    )
    for kind in TypedColumns.infer(frame, {"count": "whole|-1"}).types:
        assert kind.proposed(kind.proposals((1000,), rng)).all()
    assert not kind.proposed(np.array([2.0, np.nan])).any()
