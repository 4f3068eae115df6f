"""Mixed tables: types, round trips, densities, conditions, imputation, and what bad input is told."""

import itertools

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from keras import ops

import flowkit
from flowkit.data.typed_columns import TypedColumns

pytestmark = pytest.mark.one_engine
ROWS = 200


def mixed(rows=ROWS, seed=0):
    """A table with a column of each type, the pandas index from 100 up."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2])
    frame = pd.DataFrame(
        {
            "kind": kind,
            "size": rng.poisson(np.where(kind == "a", 6, 2)),
            "income": np.exp(rng.normal(size=rows)),
            "temperature": rng.normal(size=rows),
            "share": rng.uniform(size=rows),
            "hour": rng.integers(0, 24, rows),
            "angle": rng.uniform(-3, 3, rows),
            "flag": rng.random(rows) < 0.3,
            "carat": np.round(rng.gamma(2, size=rows), 1),
            "day": pd.Timestamp("2020-02-01") + pd.to_timedelta(rng.integers(0, 60, rows), unit="D"),
            "grade": pd.Categorical(rng.choice(["lo", "mid", "hi"], rows), ["lo", "mid", "hi"], ordered=True),
            "unit": 7,
        },
        index=np.arange(100, 100 + rows),
    )
    for name in ("kind", "income", "carat", "grade"):
        frame.loc[rng.random(rows) < 0.1, name] = None
    return frame


TYPES = {"share": (0, 1), "hour": ("circular", 0, 24), "angle": "circular"}


@pytest.fixture(scope="module")
def frame():
    return mixed()


@pytest.fixture(scope="module")
def flow(frame):
    return flowkit.fit_table(frame, types=TYPES, layers=2, hidden=[16], epochs=2, verbose=0)


@pytest.fixture(scope="module")
def conditional(frame):
    given = ["kind", "income", "hour"]
    return flowkit.fit_table(frame, types=TYPES, given=given, layers=2, hidden=[16], epochs=1, verbose=0)


# Types


def test_types_are_inferred_and_printed_as_one_table(frame):
    lines = str(TypedColumns.infer(frame, TYPES)).splitlines()
    found = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert found == {
        "column": "type entries missing",
        "kind": "category a, b, c may be",
        "size": f"whole 0 to {frame['size'].max()}, or beyond",
        "income": "positive may be",
        "temperature": "real",
        "share": "bounded 0 to 1",
        "hour": "circular, whole 0 to 23",
        "angle": "circular",
        "flag": "category False, True",
        "carat": f"steps of 0.1 {frame.carat.min()} to {frame.carat.max()}, or beyond may be",
        "day": "dates, days 2020-02-01 to 2020-03-31, or beyond",
        "grade": "ordered lo, mid, hi may be",
        "unit": "constant 7",
    }


# Densities and samples


def test_log_prob_of_real_columns_and_angles_is_exact():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"hour": rng.uniform(0, 24, 80), "share": rng.uniform(size=80)})
    types = {"hour": ("circular", 0, 24), "share": (0, 1)}
    flow = flowkit.fit_table(frame, types=types, layers=1, hidden=[4], epochs=1, verbose=0)
    assert flow.exact == "exact"
    assert flow.log_prob(frame).name == "log_prob"
    drawn = flow.sample(50, seed=0)
    assert drawn.hour.between(0, 24).all()
    assert drawn.share.between(0, 1).all()


def test_a_plot_shows_codes_of_data_and_samples(flow, conditional, frame):
    axes = flow.plot(frame, samples=50).axes
    assert len(axes) == 36
    # Of the second column, "size": samples above the diagonal, data below.
    drawn = np.ma.getdata(axes[1].collections[0].get_offsets())[:, 0]
    data = np.ma.getdata(axes[6].collections[0].get_offsets())[:, 1]
    assert {*drawn[~np.isnan(drawn)]} <= {*range(int(frame["size"].max()) + 1)}
    assert data.tolist() == (frame["size"] - frame["size"].min()).tolist()
    given = frame[["kind", "income", "hour"]].head(1)
    assert len(conditional.plot(context=given, samples=20).axes) == 36


def test_a_plot_of_one_column_of_whole_numbers():
    frame = pd.DataFrame({"n": [3, 4, 4, 5, None] * 8})
    flow = flowkit.fit_table(frame, layers=1, hidden=[4], epochs=1, verbose=0)
    assert len(flow.plot(frame, samples=20).axes) == 1


def test_a_report_compares_missing_entries_and_those_that_are_no_numbers(flow, frame):
    found = flowkit.diagnostics.report(flow, frame, train=frame, samples=100)
    assert found.findings["round_trip"].passed
    numbers = found.findings["memorisation"].numbers
    assert numbers["test_copies"] == len(frame)
    assert 0 < numbers["median_distance_of_samples"] < 3
    assert numbers["singled_out"] < 0.1


@pytest.mark.parametrize("given", [[], ["kind"]])
def test_thorough_is_the_mixture_of_five_flows(frame, given, tmp_path):
    options = {"layers": 1, "hidden": [4], "epochs": 2, "validation": 0.0, "verbose": 0, "given": given}
    flow = flowkit.fit_table(frame, types=TYPES, effort="thorough", **options)
    x = flow.columns.values(frame[list(flow.columns.names)])
    context = flow.context_columns.values(frame[given]) if given else None
    y = ops.convert_to_tensor(flow.encode(x, context))  # with the front alone
    seen = flow.embed(None if context is None else ops.convert_to_tensor(context))
    members = [flowkit.Flow(each, flow.base.base) for each in flow.base.bijectors]
    each = [ops.convert_to_numpy(member._score(y, seen)[1]) for member in members]
    mixed = ops.convert_to_numpy(flow.base.log_prob(y, seen))
    np.testing.assert_allclose(mixed, np.logaddexp.reduce(each) - np.log(5), rtol=1e-5)
    assert np.ptp(each, axis=0).min() > 0  # they differ
    flow.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    pd.testing.assert_series_equal(loaded.log_prob(frame), flow.log_prob(frame))


# Atoms


def test_zeros_and_a_sentinel_keep_their_shares_their_sides_and_what_they_depend_on():
    rng = np.random.default_rng(0)
    temperature = rng.normal(15, 6, 2000)
    dry = rng.random(2000) < 1 / (1 + np.exp((12.6 - temperature) / 4))
    rain = np.where(dry, 0, rng.exponential(5, 2000))
    sensor = np.where(rng.random(2000) < 0.03, -999, rng.normal(20, 3, 2000))
    frame = pd.DataFrame({"temperature": temperature, "rain": rain, "sensor": sensor})
    flow = flowkit.fit_table(frame, layers=2, hidden=[32, 32], epochs=60, verbose=0)
    drawn = flow.sample(4000, seed=0)
    for name, atom in (("rain", 0), ("sensor", -999)):
        share, seen = (drawn[name] == atom).mean(), (frame[name] == atom).mean()
        assert abs(share - seen) < 2 * (seen * (1 - seen) * (1 / 2000 + 1 / 4000)) ** 0.5 + 0.01
    assert (drawn["rain"] >= 0).all()
    assert (drawn["sensor"][drawn["sensor"] != -999] > 0).all()
    for cold, warm in ((5, 10), (20, 25)):
        shares = [
            (table["rain"] == 0)[table["temperature"].between(cold, warm)].mean() for table in (frame, drawn)
        ]
        assert shares[1] == pytest.approx(shares[0], abs=0.12)
    gaps = frame.head(500).assign(rain=None)
    filled = flow.impute(gaps, seed=0)
    assert abs((filled["rain"] == 0).mean() - (rain[:500] == 0).mean()) < 0.08
    assert (filled["rain"] >= 0).all()


@pytest.mark.parametrize("values", [(0, 8), (-9, 0)], ids=["one", "two"])
def test_probabilities_of_atoms_and_the_density_of_numbers_sum_to_1(values):
    rng = np.random.default_rng(0)
    rain = np.where(rng.random(300) < 0.5, rng.choice(values, 300), rng.uniform(1, 7, 300))
    frame = pd.DataFrame({"rain": rain})
    types = {"rain": (0, 8, f"|{values[0]}|{values[1]}")}
    flow = flowkit.fit_table(frame, types=types, layers=1, hidden=[8], epochs=20, verbose=0)
    grid = np.linspace(0, 8, 402)[1:-1]
    log_prob = flow.log_prob(pd.DataFrame({"rain": [*values, *grid]}), samples=200).to_numpy()
    atoms = np.exp(log_prob[:2])
    assert atoms == pytest.approx([(rain == value).mean() for value in values], abs=0.08)
    assert atoms.sum() + np.exp(log_prob[2:]).sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=0.03)


def test_numbers_in_steps_spread_as_in_the_data_beside_missing_entries():
    """From few epochs on: a number that is not there must not be drawn far from all others."""
    rng = np.random.default_rng(0)
    steps = np.where(rng.random(400) < 0.1, np.nan, rng.normal(size=400).round(2))
    flow = flowkit.fit_table(
        pd.DataFrame({"steps": steps, "real": rng.normal(size=400)}), epochs=3, verbose=0
    )
    drawn = flow.sample(4000, seed=0)["steps"]
    assert 0.8 < drawn.std() < 1.25
    assert (drawn.abs() > 5).mean() < 0.002


def test_a_frame_with_a_column_that_numbers_the_rows_is_scored_without_it():
    frame = pd.DataFrame({"id": range(300), "size": [1, 2, 3] * 100, "kind": ["a", "b"] * 150})
    flow = flowkit.fit_table(frame, given=["kind"], layers=1, hidden=[4], epochs=1, verbose=0)
    scores = flow.log_prob(frame)
    pd.testing.assert_series_equal(scores, flow.log_prob(frame.drop(columns="id")))
    filled = flow.impute(frame.assign(size=[None, *frame["size"][1:]]), sweeps=1)
    assert filled["id"].tolist() == list(range(300))


# Given columns


def test_a_conditional_table_takes_whole_frames(conditional, frame):
    both = conditional.log_prob(frame.head())
    names = ["kind", "income", "hour"]
    apart = conditional.log_prob(frame.head().drop(columns=names), frame.head()[names])
    pd.testing.assert_series_equal(both, apart)
    drawn = conditional.sample(2, context=frame[names].head(3), seed=0)
    assert len(drawn) == 6
    assert drawn.hour.tolist() == frame.hour.head(3).tolist() * 2
    assert set(drawn.columns) == set(frame.columns)
    given = pl.DataFrame({name: frame[name].head(3).to_list() for name in names})
    drawn = conditional.sample(2, context=given, seed=0)
    assert isinstance(drawn, pl.DataFrame)  # as the given frame
    assert drawn["hour"].to_list() == given["hour"].to_list() * 2


# Missing entries


def test_nan_in_a_polars_frame_is_a_missing_entry_to_drop(capsys):
    rows = pl.DataFrame({"x": [0.5, float("nan"), None, *np.linspace(0, 1, 20)], "y": np.arange(23.0)})
    flow = flowkit.fit_table(rows, missing="drop", layers=1, hidden=[4], epochs=1)
    assert "dropped 2 of 23 rows" in capsys.readouterr().out
    assert not any(kind.missing for kind in flow.columns.types)


# Bad input


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("size", 10_000, "got 10000 in column 'size' of row 1, counted from 0, expected 0 to "),
        ("share", 1.5, "got 1.5 in column 'share' of row 1, counted from 0, expected a number in (0, 1)"),
        ("size", None, "got a missing entry in column 'size' of row 1"),
        ("day", pd.Timestamp("1999-01-01"), "got 1999-01-01 in column 'day' of row 1"),
    ],
)
def test_an_entry_that_cannot_be_is_impossible_and_named_with_column_and_row(
    flow, frame, column, value, says
):
    rows = frame.head(3).astype({"size": float})
    right = np.asarray(flow.log_prob(rows))
    rows.loc[rows.index[1], column] = value
    with pytest.warns(UserWarning, match="1 of 3 rows are impossible and have -inf") as warned:
        scores = np.asarray(flow.log_prob(rows))
    assert any(says in str(warning.message) for warning in warned)
    assert scores[1] == -np.inf
    assert (scores[[0, 2]] == right[[0, 2]]).all()


@pytest.mark.parametrize(("column", "value", "near"), [("carat", 0.123, 0.1), ("size", 20, None)])
def test_a_number_that_was_not_seen_has_a_probability(flow, frame, column, value, near):
    rows = frame.head(3).astype({"size": float})
    rows.loc[rows.index[1], column] = value
    scores = flow.log_prob(rows)
    assert np.isfinite(scores).all()
    if near is not None:
        rows.loc[rows.index[1], column] = near
        assert (scores == flow.log_prob(rows)).all()


@pytest.mark.parametrize("unseen", [None, 0.01, 0.0])
def test_an_unseen_category_has_its_share_of_the_rest_of_the_row(frame, unseen):
    flow = flowkit.fit_table(frame, types=TYPES, unseen=unseen, layers=1, hidden=[4], epochs=1, verbose=0)
    rows = frame.head(2).assign(kind=["zebra", "a"])
    if unseen == 0:
        with pytest.warns(
            UserWarning, match="got 'zebra' in column 'kind' of row 0, .*one of the 3 categories"
        ):
            assert np.isneginf(flow.log_prob(rows).iloc[0])
        return
    (kind,) = (
        kind for name, kind in zip(flow.columns.names, flow.columns.types, strict=True) if name == "kind"
    )
    share = 0.5 / (frame["kind"].notna().sum() + 1) if unseen is None else unseen
    assert kind.unseen == pytest.approx(share)
    each = frame.iloc[[0] * len(kind.values)].assign(kind=list(kind.values))
    if kind.missing:
        each = pd.concat([each, frame.iloc[[0]].assign(kind=[None])], ignore_index=True)
    whole = np.logaddexp.reduce(flow.log_prob(each)) + np.log(share) - np.log1p(-share)
    assert flow.log_prob(rows).iloc[0] == pytest.approx(whole, rel=1e-5)


def test_probabilities_of_numbers_and_of_seen_and_unseen_categories_sum_to_1():
    rng = np.random.default_rng(0)
    letters = rng.choice(list("abcdef"), 200, p=[0.3, 0.3, 0.2, 0.1, 0.09, 0.01])
    rows = pd.DataFrame({"k": letters, "n": rng.integers(0, 3, 200)})
    flow = flowkit.fit_table(rows, unseen=0.1, layers=1, hidden=[8], epochs=2, verbose=0)
    each = pd.DataFrame(itertools.product([*sorted(set(letters)), "new"], range(3)), columns=["k", "n"])
    probability = np.exp(flow.log_prob(each, samples=500))
    assert probability.sum() == pytest.approx(1, abs=0.02)
    assert probability[each.k == "new"].sum() == pytest.approx(0.1, abs=5e-3)


def test_a_missing_category_is_no_unseen_one():
    rows = pd.DataFrame({"k": ["a", "b", "c"] * 20, "x": np.random.default_rng(0).normal(size=60)})
    flow = flowkit.fit_table(rows, layers=1, hidden=[4], epochs=1, verbose=0)
    with pytest.warns(UserWarning, match="got a missing entry in column 'k' of row 0"):
        assert np.isneginf(flow.log_prob(rows.head(1).assign(k=[None])).iloc[0])


def test_all_columns_that_need_a_decision_are_named_at_once():
    names = [f"name {i}" for i in range(100)]
    frame = pd.DataFrame({"name": [*names, *names[:50]], "gone": None, "n": range(150), "z": 1j})
    with pytest.raises(ValueError, match="got 3 columns without a type") as error:
        flowkit.fit_table(frame)
    assert "drop=['name', 'gone', 'z']" in str(error.value)
    assert "all entries are missing" in str(error.value)
    assert "types={'name': 'category'}" in str(error.value)
    with pytest.raises(ValueError, match=r"'gone': all entries are missing. Leave .* \(--drop 'gone'\)\.$"):
        flowkit.fit_table(frame[["gone", "n"]])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"types": {"tail": "real"}}, "types: got 'tail', expected names of columns"),
        ({"types": {"size": "odd"}}, "type 'odd', expected 'real'"),
        ({"given": ["size", "kind"]}, "all columns in given= or drop="),
        ({"validation": 1.0}, "fit_table's validation: got 1.0, expected a number in [0, 1)"),
        ({"model": "glow"}, "got 'glow', expected one of"),
    ],
)
def test_arguments_that_are_refused(frame, options, says):
    with pytest.raises(ValueError, match="got") as error:
        flowkit.fit_table(frame[["size", "kind"]], **options)
    assert says in str(error.value)
    with pytest.raises(ValueError, match="a table of 1 row, expected at least 2"):
        flowkit.fit_table(frame.head(1))


def test_a_column_given_twice(conditional, frame):
    with pytest.raises(ValueError, match="'kind' in x and in context="):
        conditional.log_prob(frame, frame[["kind", "income", "hour"]])
    with pytest.raises(ValueError, match="got no column 'kind'"):
        conditional.log_prob(frame.drop(columns="kind"))


# Weights of rows


def test_whole_weights_start_as_repeated_rows():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    weights = rng.integers(0, 4, 60)
    options = {"layers": 1, "hidden": [8], "epochs": 1, "learning_rate": 0.0, "verbose": 0}
    options |= {"validation": 0.0, "effort": "quick"}
    weighted = flowkit.fit_table(frame, sample_weight=weights, **options)
    named = flowkit.fit_table(frame.assign(times=weights), sample_weight="times", **options)
    times = np.repeat(np.arange(60), weights)
    repeated = flowkit.fit_table(
        frame.iloc[times], types={"a": "real", "b": "real"}, batch_size=len(times), **options
    )
    alike = flowkit.fit_table(frame, **options)
    found = [flow.log_prob(frame).to_numpy() for flow in (weighted, named, repeated, alike)]
    assert found[1].tolist() == found[0].tolist()
    assert found[2] == pytest.approx(found[0], abs=1e-4)
    assert np.abs(found[3] - found[0]).max() > 0.1


def test_training_and_scores_count_rows_by_their_weights(capsys):
    rng = np.random.default_rng(0)
    kind = rng.choice(list("ab"), 800)
    frame = pd.DataFrame({"kind": kind, "x": rng.normal(size=800), "w": np.where(kind == "a", 4.0, 1.0)})
    flow = flowkit.fit_table(frame, sample_weight="w", layers=1, hidden=[8], epochs=15)
    assert flow.columns.names == ("kind", "x")
    assert (flow.sample(2000, seed=0).kind == "a").mean() == pytest.approx(0.8, abs=0.06)
    assert "80 rows held out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), "expected a number from 0 up for each of 200 rows, not all of them 0"),
        (-np.ones(ROWS), "expected a number from 0 up"),
        (np.zeros(ROWS), "not all of them 0"),
        ("wieght", "got 'wieght', expected names of columns"),
    ],
)
def test_bad_weights_raise_one_error(frame, weights, message):
    with pytest.raises(ValueError, match=message):
        flowkit.fit_table(frame, sample_weight=weights)


def test_an_unseen_category_of_a_given_column_stands_for_how_often_each_was_seen():
    rng = np.random.default_rng(0)
    kinds = np.repeat(["a", "b", "c"], [30, 20, 10])
    rows = pd.DataFrame({"k": kinds, "x": rng.normal(size=60), "y": rng.normal(size=60)})
    flow = flowkit.fit_table(rows, given=["k"], layers=1, hidden=[4], epochs=2, verbose=0)
    one = rows.head(1).assign(k=["new"])
    seen = np.array([[1 / 2, 1 / 3, 1 / 6]])
    expected = flow.log_prob(one[["x", "y"]].to_numpy(), seen)
    assert flow.log_prob(one).iloc[0] == pytest.approx(expected[0], rel=1e-6)
    assert np.isfinite(flow.sample(5, one[["k"]], seed=0)[["x", "y"]].to_numpy()).all()
    lines = flow.detector(rows, false_alarms=0.1).explain(one)
    assert np.isfinite(lines["log_prob"]).all()
