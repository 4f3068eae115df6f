"""Types of columns: entries keep the types of the data, ends of ranges, missing entries, and refusals."""

import json

import hypothesis
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import strategies as st

from flowkit.data.table import read_frame
from flowkit.data.typed_columns import TypedColumns, restored_columns

pytestmark = pytest.mark.one_engine
MANY = np.random.default_rng(0).integers(1, 2**31, 50)  # whole numbers of more levels than are counted


def last_missing(values):
    return [*list(values)[:-1], None]


POLARS = pl.DataFrame(
    {
        "id": pl.Series(MANY, dtype=pl.UInt32),
        "float": pl.Series(last_missing(MANY / 7), dtype=pl.Float32),
        "constant": pl.Series(last_missing([7] * 50), dtype=pl.Int8),
        "flag": last_missing([True, False] * 25),
    }
)
PANDAS = pd.DataFrame(
    {
        "id": MANY.astype("uint32"),
        "float": np.array(last_missing(MANY / 7), "float32"),
        "whole": pd.array(last_missing([1, 2] * 25), dtype="Int64"),
        "flag": pd.array(last_missing([True, False] * 25), dtype="boolean"),
        "category": pd.Categorical(last_missing(["x", "y"] * 25)),
        "object": [*["word", 1] * 24, None, pd.NA],
    }
)


@pytest.mark.parametrize("frame", [POLARS, PANDAS], ids=["polars", "pandas"])
@pytest.mark.parametrize("rows", [slice(None), slice(0, 1), slice(49, 50)], ids=["all", "first", "missing"])
def test_entries_have_the_types_of_the_data_whatever_is_drawn(frame, rows):
    columns = TypedColumns.infer(frame)
    drawn = columns.frame(columns.values(frame)[rows])
    assert list(drawn.dtypes) == list(frame.dtypes)


@pytest.mark.parametrize("library", [pl, pd], ids=["polars", "pandas"])
def test_a_word_among_numbers_is_named_with_its_row(library):
    numbers = np.random.default_rng(0).normal(size=50).round(3).tolist()
    columns = TypedColumns.infer(library.DataFrame({"size": numbers}))
    with pytest.raises(
        ValueError, match="got 'tall' in column 'size' of row 1, counted from 0, expected a number"
    ):
        columns.values(library.DataFrame({"size": ["0.1", "tall"]}))
    words = library.DataFrame({"size": [*map(str, numbers), "tall"]})
    with pytest.raises(ValueError, match="'size': numbers, except 'tall' in row 50, counted from 0"):
        TypedColumns.infer(words)


@pytest.mark.parametrize("frame", [POLARS, PANDAS], ids=["polars", "pandas"])
def test_samples_of_whole_numbers_are_whole_and_of_their_range(frame):
    columns = TypedColumns.infer(frame[["id"]])
    assert columns.types[0].word == "positive"
    drawn = columns.frame(np.array([[-3.7], [0.4], [2.6], [1e30]]))
    assert drawn["id"].to_list() == [1, 1, 3, 2**32 - 1]
    columns.values(drawn)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("circular", "circular"),
        ((0.05, 2.55), "bounded"),
        (("circular", 0, 2.55), "circular"),
        (("circular", 0, 2.5), "circular, steps of 0.1"),
        ((0, 2.55), "steps of 0.1"),
    ],
)
def test_steps_are_taken_if_the_ends_lie_on_them(asked, word):
    frame = pd.DataFrame({"a": np.arange(1, 25).repeat(2) / 10})
    columns = TypedColumns.infer(frame, {"a": asked})
    assert columns.types[0].word == word
    assert columns.frame(columns.values(frame))["a"].to_list() == pytest.approx(frame["a"].to_list())


@pytest.mark.parametrize(
    ("low", "high", "asked", "ends"),
    [
        # Of 3001 levels: 12004 steps of 0.01 on each side, but not across 0.
        (10.0, 40.0, None, (0.01, 160.04)),
        (0.05, 30.05, None, (0.01, 150.09)),
        (0.0, 30.0, None, (0.0, 150.04)),
        (-30.0, 0.0, None, (-150.04, 0.0)),
        (-10.0, 20.0, None, (-130.04, 140.04)),
        (1000.0, 1030.0, None, (879.96, 1150.04)),
        (10.0, 40.0, (0, 50), (0.0, 50.0)),
    ],
)
def test_a_range_of_measured_numbers_is_widened_on_both_sides_but_not_across_0(low, high, asked, ends):
    values = np.round(np.linspace(low, high, 400), 2)
    values[1::3] = values[:-1:3]  # so that steps repeat
    values[[0, -1]] = low, high
    (kind,) = TypedColumns.infer(pd.DataFrame({"a": values}), asked and {"a": asked}).types
    assert kind.decimals == 2
    assert (kind.low, kind.low + (kind.levels - 1) * kind.step) == pytest.approx(ends)
    assert np.isfinite(kind.codes(pd_series([low, high]))).all()


def pd_series(values):
    return nw.from_native(pd.Series(values), series_only=True)


def test_a_range_of_many_steps_that_occur_often_is_not_widened():
    (kind,) = TypedColumns.infer(pd.DataFrame({"day": [*range(1, 366)] * 2})).types
    assert (kind.low, kind.levels) == (1, 365)


def test_few_values_of_a_fine_grid_are_listed():
    wind = [0.0, 0.1045, 0.194, None, 0.2836]
    firsts = pd.to_datetime(["2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01", None])
    frame = pd.DataFrame({"wind": wind * 9, "month": firsts.tolist() * 9, "size": [10, 20, 30, 40, 90] * 9})
    columns = TypedColumns.infer(frame)
    assert [kind.word for kind in columns.types] == ["4 values", "4 dates, days", "5 values"]
    assert columns.codings == [("whole", 4), ("whole", 4), ("whole", 5)]
    pd.testing.assert_frame_equal(columns.frame(columns.values(frame)), frame)
    assert restored_columns(json.loads(json.dumps(columns.stored()))) == columns
    assert columns.drawable(columns.values(frame))[:3, 2].tolist() == [10, 20, 30]
    with pytest.raises(
        ValueError, match=r"got 0.15 in column 'wind' of row 1, .* the 4 values of the training"
    ):
        columns.values(frame.head(3).assign(wind=[0.0, 0.15, 0.1045]))
    assert TypedColumns.infer(frame, {"size": "whole"}).types[2].listed == ()
    assert (
        TypedColumns.infer(frame.iloc[[*range(45), 0]].assign(size=[*frame["size"], 55])).types[2].word
        == "whole"
    )


def test_wrong_entries_are_all_found_and_their_rows_filled():
    frame = pl.DataFrame({"size": [1, 2, 3, 4] * 9, "kind": ["a", "b"] * 18})
    columns = TypedColumns.infer(frame)
    new = pl.DataFrame({"size": ["1", "x", "9", "2", None], "kind": ["a", "a", "c", "c", "b"]})
    codes, wrong = columns.coded(new)
    assert {row: words.partition(" of row")[0] for row, words in wrong.items()} == {
        1: "'x' in column 'size'",
        2: "'9' in column 'size'",
        3: "'c' in column 'kind'",
        4: "a missing entry in column 'size'",
    }
    assert codes.tolist() == [[0.0, 0.0]] * 5
    with pytest.raises(ValueError, match=r"'x' in column 'size' of row 1, .* \(--types\)"):
        columns.values(new)


@pytest.mark.parametrize(
    ("values", "asked", "says"),
    [
        (pd.date_range("2020", periods=3), "real", "'a': Datetime"),
        ([7, 7, 7], "whole", "a range of 1 whole numbers, expected 2 to 1,048,576"),
        ([1.5, 2, 3], "whole", "fractions, no whole numbers"),
    ],
)
def test_types_that_a_column_cannot_have(values, asked, says):
    with pytest.raises(ValueError, match="got 1 column without a type") as error:
        TypedColumns.infer(pd.DataFrame({"a": values}), {"a": asked})
    assert says in str(error.value)


def test_words_that_are_numbers_stay_words_of_known_columns(tmp_path):
    columns = TypedColumns.infer(pl.DataFrame({"zip": ["12", "A3"]}))
    path = tmp_path / "a.csv"
    path.write_text("zip,n\n12,1\n")
    assert columns.values(read_frame(path, known=[columns, None])[["zip"]]).tolist() == [[0.0]]


def test_a_type_from_a_file_names_no_function_of_narwhals():
    stored = TypedColumns.infer(POLARS[["id"]]).stored()
    stored["types"][0]["dtype"] = "show_versions"
    with pytest.raises(ValueError, match="got the column type 'show_versions', expected a type of narwhals"):
        restored_columns(stored).frame(np.array([[3.0]]))


@pytest.mark.parametrize("library", [pl, pd], ids=["polars", "pandas"])
def test_samples_of_real_numbers_have_the_decimals_of_the_data(library):
    frame = library.DataFrame({"rent": (np.arange(1, 301) ** 2 + 0.25).tolist()})
    columns = TypedColumns.infer(frame)
    assert columns.types[0].word == "positive"
    drawn = columns.frame(np.array([[12.3456], [0.001]]))
    assert drawn["rent"].to_list() == [12.35, 0.001]  # 0 is outside of the domain
    columns.values(drawn)
    assert columns.frame(columns.values(frame))["rent"].to_list() == frame["rent"].to_list()


def test_columns_that_only_number_or_name_the_rows_are_left_out_unless_a_type_or_given_keeps_them():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": range(300),
            "key": rng.permutation(10**8)[:300],
            "name": [f"row {number}" for number in range(300)],
            "people": rng.permutation(np.exp(np.linspace(8, 16, 300)).astype(int)),  # different by chance
            "day": pd.date_range("2026-01-01", periods=300),
            "size": [1, 2] * 150,
        }
    )
    columns = TypedColumns.infer(frame)
    assert columns.names == ("people", "day", "size")
    assert columns.left_out == ("id", "key", "name")
    assert "id: left out, since its values are all different" in str(columns)
    assert "people: no value occurs twice. If it numbers the rows, leave it out" in str(columns)
    assert columns.values(frame).shape == (300, 3)
    assert restored_columns(json.loads(json.dumps(columns.stored()))) == columns
    assert TypedColumns.infer(frame, {"id": "whole"}, given=["key"]).left_out == ("name",)
    assert TypedColumns.infer(frame[["id"]]).names == ("id",)
    days = frame.assign(day=frame["day"].astype(str))
    with pytest.raises(ValueError, match=r"'day': text, 300 different entries .*parse dates first"):
        TypedColumns.infer(days)


def test_tiny_numbers_are_not_whole():
    values = 1e-12 * np.exp(np.random.default_rng(0).normal(size=60))
    columns = TypedColumns.infer(pd.DataFrame({"x": values}))
    assert "positive" in str(columns)
    assert "no value occurs twice" not in str(columns)


def test_rounding_errors_near_0_leave_steps_as_they_are():
    values = np.round(np.random.default_rng(0).normal(size=200), 1)
    values[0] = 0.1 + 0.2 - 0.3  # 5.6e-17
    assert "steps of 0.1" in str(TypedColumns.infer(pd.DataFrame({"x": values})))


# Atoms

DENSITIES = {
    "normal": lambda rng, scale, rows: rng.normal(0, scale, rows),
    "exponential": lambda rng, scale, rows: rng.exponential(scale, rows),
    "uniform": lambda rng, scale, rows: rng.uniform(0, scale, rows),
    "integers": lambda rng, scale, rows: rng.integers(0, 10, rows) * scale,
}


def inferred(values, asked=None):
    return TypedColumns.infer(pd.DataFrame({"a": values}), asked and {"a": asked}).types[0]


@hypothesis.settings(deadline=None, database=None, derandomize=True, max_examples=200)
@hypothesis.given(
    st.sampled_from(sorted(DENSITIES)),
    st.integers(0, 2**32),
    st.integers(40, 5000),
    st.sampled_from([1, 3, 10, 100]),
    st.integers(0, 6),
)
def test_smooth_densities_have_no_atoms_however_they_are_rounded_and_zeros_are_one(
    name, seed, rows, scale, decimals
):
    rng = np.random.default_rng(seed)
    values = np.round(DENSITIES[name](rng, scale, rows), decimals)
    assert not getattr(inferred(values), "atoms", ())
    if rows > 100 and decimals > 2 and name != "integers":
        values[rng.random(rows) < 0.6] = 0
        kind = inferred(values)
        assert kind.atoms == (0,)
        assert kind.shares == pytest.approx(((values == 0).mean(),))


RNG = np.random.default_rng(0)
NORMAL, RAIN = RNG.normal(20, 3, 1000), RNG.exponential(5, 1000)
DRY = RNG.random(1000) < 0.6


@pytest.mark.parametrize(
    ("values", "asked", "words", "domain"),
    [
        (np.where(DRY, 0, RAIN), None, "positive, or 0 (", "positive"),
        (np.where(DRY, 0, RAIN), "real", "real", "real"),
        (np.where(DRY, 0, RAIN), "real|0", "real, or 0 (", "real"),
        (np.where(DRY, 0, RAIN), (0, 100, "|0"), "bounded, or 0 (", (0, 100)),
        (np.where(DRY, 0, -RAIN), None, "below 0, or 0 (", (-np.inf, 0)),
        (np.where(DRY, -999, np.where(RAIN < 1, 0, RAIN)), None, "positive, or -999 (", "positive"),
        (np.where(RAIN < 1, -999, NORMAL - 20), None, "real, or -999 (", "real"),
        (np.maximum(18, NORMAL), None, "above 18, or 18 (", (18, np.inf)),
        (np.clip(NORMAL, 18, 22), None, "bounded, or 18 (", (18, 22)),
        (np.where(DRY, 0, np.round(RAIN + 0.01, 2)), None, "steps of 0.01, or 0 (", "real"),
        (np.where(DRY, 0, np.round(50 * (NORMAL - 20))).astype(int), None, "whole, or 0 (", "real"),
        (np.where(DRY, 0, RAIN + 1e-3), "|0", "positive, or 0 (", "positive"),
    ],
)
@pytest.mark.parametrize("library", [pl, pd], ids=["polars", "pandas"])
def test_atoms_their_words_and_the_numbers_beside_them(values, asked, words, domain, library):
    frame = library.DataFrame({"a": values})
    columns = TypedColumns.infer(frame, asked and {"a": asked})
    (kind,) = columns.types
    assert kind.word.startswith(words)
    assert kind.domain == domain
    assert columns.frame(columns.values(frame)).equals(frame)
    assert restored_columns(json.loads(json.dumps(columns.stored()))) == columns
    narrow = columns.values(frame).astype("float32").astype("float64")  # as a flow draws them
    drawn = columns.frame(narrow)["a"].to_numpy()
    for atom in kind.atoms:
        np.testing.assert_array_equal(drawn == atom, values == atom)
    np.testing.assert_allclose(columns.drawable(narrow)[:, 0], values, rtol=1e-5, atol=1e-5)
    seen = kind.proposals((4000,), np.random.default_rng(1))
    shares = [np.mean(seen == code) for code in kind.atom_codes]
    assert shares == pytest.approx(list(kind.shares), abs=0.03)
    np.testing.assert_allclose(np.exp(kind.log_share(np.array(kind.atom_codes))), kind.shares)


def test_whole_numbers_beside_an_atom_skip_it_and_end_at_it():
    kind = inferred(np.where(DRY, 0, np.round(50 * (NORMAL - 20))).astype(int))
    steps = kind.drawable(np.arange(kind.levels))
    assert len(steps) == len(set(steps))
    assert 0 not in steps
    assert {-1, 1} <= set(steps)
    clipped = inferred(np.maximum(1800, np.round(100 * NORMAL)).astype(int))
    assert clipped.atoms == (1800,)
    assert clipped.drawable(np.zeros(1)).item() == 1801
    with pytest.raises(ValueError, match="'a': numbers outside of the type 'positive', expected a number in"):
        inferred(np.where(DRY, 0, RAIN), "positive")
    with pytest.raises(ValueError, match=r"expected numbers after '\|'"):
        inferred(RAIN, "positive|x")
    for asked in ("real|7.5", "whole|1.5"):
        with pytest.raises(ValueError, match=r"no entry .*, expected numbers after '\\|' that occur"):
            inferred(np.arange(40), asked)


def test_sentinels_are_no_proposals_for_missing_entries_and_other_atoms_are():
    kind = inferred(np.where(DRY, -999, np.where(RAIN < 2, 0, RAIN)), "positive|0|-999")
    drawn = kind.recorded.proposals((4000,), np.random.default_rng(0))
    assert (drawn >= 0).all()
    assert np.mean(drawn == 0) == pytest.approx(kind.shares[kind.atoms.index(0)], abs=0.03)
    clipped = inferred(np.maximum(18, NORMAL))
    assert clipped.recorded == clipped


def test_networks_see_an_atom_of_a_given_column_beside_a_number():
    kind = inferred(np.where(DRY, 0, RAIN))
    number, indicator = kind.features(np.array([0.0, 2.0]))
    assert np.isfinite(number).all()
    assert number[1] == np.log(2.0)
    assert indicator.tolist() == [1, 0]


# Numbers far from 0


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        (1e5 + np.random.default_rng(0).normal(size=500), None),
        (1e5 + np.random.default_rng(0).uniform(-1, 1, size=500), (1e5 - 2, 1e5 + 2)),
        (1e9 + np.random.default_rng(0).integers(0, 200, 500) * 1e-4, None),
        (1e9 + np.arange(500) * 1e-4, None),
    ],
)
def test_real_numbers_far_from_0_keep_their_digits_in_float32(values, asked):
    frame = pd.DataFrame({"x": values})
    columns = TypedColumns.infer(frame, asked and {"x": asked})
    codes = columns.values(frame)
    assert np.abs(codes.astype("float32") - codes).max() < 1e-6 * codes.std() * 10
    if asked:
        assert np.ptp(columns.codings[0]) == 4
    np.testing.assert_allclose(columns.frame(codes)["x"], values, rtol=1e-15)
    with pytest.raises(ValueError, match="type 'positive', expected 'real', which keeps"):
        TypedColumns.infer(frame, {"x": "positive"})


# Times


@pytest.mark.parametrize("library", [pl, pd], ids=["polars", "pandas"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_times_with_a_zone_and_without_are_not_mixed(library, zone):
    hours = nw.new_series("", np.arange(48).astype("datetime64[h]").astype("datetime64[us]"), backend=library)
    frames = [
        library.DataFrame({"t": hours.dt.replace_time_zone(own).to_native()})
        for own in (zone, None if zone else "UTC")
    ]
    columns = TypedColumns.infer(frames[0])
    assert columns.types[0].word == "dates, hours"
    assert columns.frame(columns.values(frames[0]))["t"].to_list() == frames[0]["t"].to_list()
    words = ["1970-01-02T00:00", "1970-01-02T00:00+00:00"]
    wrong = columns.coded(library.DataFrame({"t": words}))[1]
    assert list(wrong) == [1 if zone is None else 0]
    with pytest.raises(ValueError, match=r"column 't': got .*zone|column 't': got UTC, expected dates"):
        columns.values(frames[1])


@pytest.mark.parametrize("library", [pl, pd], ids=["polars", "pandas"])
def test_times_that_are_one_in_microseconds_are_refused(library):
    frame = library.DataFrame({"t": (np.arange(50) * 100).astype("datetime64[ns]")})
    with pytest.raises(ValueError, match="'t': times that differ by less than a microsecond"):
        TypedColumns.infer(frame)
