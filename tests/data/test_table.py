"""Tables from files: every kind that is read, and what is none."""

import datetime

import hypothesis
import numpy as np
import polars
import pytest
from hypothesis import strategies as st

from flowkit.data import Columns, load_table
from flowkit.data.cells import like_cells
from flowkit.data.frame_file import read_table_file
from flowkit.data.table import read_frame, read_table
from flowkit.data.written_numbers import NumberFormat, formats_of

pytestmark = pytest.mark.one_engine

X = np.random.default_rng(0).normal(size=(20, 3))


def csv(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def lines(x, delimiter=","):
    return "".join(delimiter.join(repr(float(number)) for number in row) + "\n" for row in x)


def both(source, **options):
    return [load_table(source, split, **options) for split in ("train", "test")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_text_with_names_and_without(tmp_path, delimiter):
    named = both(
        csv(tmp_path / "a.csv", delimiter.join(["one", '"the 2nd"', "3rd"]) + "\n" + lines(X, delimiter))
    )
    bare = both(csv(tmp_path / "b.csv", lines(X, delimiter)))
    assert [table.names for table in (*named, *bare)] == [("one", "the 2nd", "3rd")] * 2 + [None] * 2
    for train, test in (named, bare):
        assert (len(train), len(test)) == (18, 2)
        rows = np.concatenate([train.values, test.values])
        np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(X, axis=0))
    np.testing.assert_array_equal(named[1].values, bare[1].values)  # the same rows each time


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,\n", "got nan in column 'b' of row 1, counted from 0.* Drop or fill in"),
        ("a,b\n1,2\n3,g\n", "got 'g' in column 'b' of row 1, counted from 0"),
        ("a,b\n1,0.5,0.7\n", "got 3 entries in line 2, expected 2 .*row.names=FALSE"),
        ("a,b,c\n1,2,3\n\n4,5\n6,7,8\n", "got 2 entries in line 4, expected 3"),
        ("# mine\na,b\n1.5,2\n", "got 2 entries in line 2, expected 1 .* and no other lines"),
        ("a;b\n1;2,5 kg\n", "got '2,5 kg' in column 'b' .* expected a number with a decimal point"),
        ("a,b\n9007199254740993,1\n", "got whole numbers beyond 2\\^53 in column 'a', .* Subtract"),
        (",".join(f"c{i}" for i in range(10**5)) + "\n", "got 100,000 columns, expected at most 65,536"),
        ("a,b,a\n1,2,3\n", r"got 'a' more than once, expected a name of its own for each column\. Rename"),
        (",a\n0,2.5\n1,3.5\n", r"got ',a' in the first line, .* Name all columns, .*to_csv\(index=False\)"),
        ("2019,2020\n1.5,2e3\n", r"got whole numbers in the first line above '1\.5,2e3', expected names or"),
        ("id,2020\n1.5,2.5\n", "got 'id,2020' in the first line, expected a name for each column"),
        ("a,b\n", "got no rows, expected rows of numbers below the names of columns"),
        ("\na,b\n1.5,2.5\n", "begins with an empty line"),
    ],
)
def test_text_that_is_no_table_of_numbers(tmp_path, text, message, recwarn):
    with pytest.raises(ValueError, match=message) as caught:
        load_table(csv(tmp_path / "a.csv", text), cut=False)
    assert not recwarn.list  # NumPy's own words beside these
    assert "\n" not in str(caught.value)


def test_tabs_by_the_name_of_such_files(tmp_path):
    assert load_table(csv(tmp_path / "a.tsv", "a\tb\n" + lines(X[:, :2], "\t"))).names == ("a", "b")


def test_arrays(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "one.npz", anything=X.astype("float32"))
    np.savez(tmp_path / "two.npz", x_train=X[:15], x_test=X[15:])
    np.savez(tmp_path / "many.npz", a=X, b=X[:, :2])
    assert [len(table) for table in both(tmp_path / "a.npy", limit=4)] == [4, 2]
    assert [len(table) for table in both(tmp_path / "one.npz")] == [18, 2]
    train, test = both(tmp_path / "two.npz")
    np.testing.assert_array_equal(train.values, X[:15])
    np.testing.assert_array_equal(test.values, X[15:])
    assert load_table(f"{tmp_path}/many.npz:b").values.shape == (18, 2)
    with pytest.raises(ValueError, match=r"got a, b, .*\. Choose one by name"):
        load_table(tmp_path / "many.npz")


def test_what_is_not_cut_comes_whole_unless_its_file_cuts_it(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "two.npz", train=X[:15], test=X[15:])
    np.testing.assert_array_equal(load_table(tmp_path / "a.npy", "test", cut=False).values, X)
    np.testing.assert_array_equal(load_table(tmp_path / "two.npz", "test", cut=False).values, X[15:])
    np.save(tmp_path / "one.npy", X[:1])
    assert len(load_table(tmp_path / "one.npy", "test", cut=False)) == 1


def test_parquet(tmp_path):
    frame = polars.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    frame.write_parquet(tmp_path / "a.parquet")
    table = load_table(tmp_path / "a.parquet", "test")
    assert table.names == ("a", "b")
    assert table.values.shape == (2, 2)
    frame.with_columns(c=polars.lit("x")).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"got 'x' in column 'c' of row 0, .*expected a number"):
        load_table(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a.npy", np.zeros((4, 2, 2)), r"shape \(4, 2, 2\), expected a table of real numbers"),
        ("a.npy", np.zeros(4), r"shape \(4,\), .*\. Save it with rows and columns: .*x\[:, None\]"),
        ("a.png", None, r"got another kind of file or a folder, .*Images take a recipe of images"),
        ("a.xlsx", None, r"got another kind of file or a folder, .*save a table as \.csv"),
    ],
)
def test_what_is_no_table(tmp_path, name, array, message):
    path = tmp_path / name
    path.touch() if array is None else np.save(path, array)
    with pytest.raises(ValueError, match=message):
        load_table(path)


@pytest.mark.parametrize("name", ["table.csv", "table.npy"])
def test_an_entry_that_is_no_number_is_told_by_its_place_in_the_file(tmp_path, name):
    x = np.random.default_rng(0).normal(size=(50, 2))
    rows = load_table(saved(tmp_path / name, x), "test").values
    row = int(np.flatnonzero((x == rows[-1]).all(axis=1))[0])
    x[row, 1] = np.nan
    with pytest.raises(ValueError, match=f"got nan in column ('size'|1) of row {row}, counted from 0"):
        load_table(saved(tmp_path / name, x), "test")
    assert len(load_table(tmp_path / name)) == 45


def saved(path, x):
    if path.suffix == ".csv":
        np.savetxt(path, x, delimiter=",", header="age,size", comments="", fmt="%.17g")
    else:
        np.save(path, x)
    return path


# Files that mean harm, and programs that write other tables than they seem to


@pytest.mark.parametrize("names", [("a", "a"), (), ("a", 1.5)])
def test_names_of_columns_that_are_none(names):
    with pytest.raises(ValueError, match="expected"):
        Columns(names, None)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("stem", ["run*", "x[1]", "run?", "{a,b}"])
def test_a_name_is_no_pattern_of_names(tmp_path, stem, suffix):
    for other in ("run_a", "run_b", "x1", "runs", "a", "b", "plain"):
        frame = polars.DataFrame({"a": [2.5] * 3 if other == "plain" else [1.5] * 7})
        getattr(frame, f"write_{suffix}")(tmp_path / f"{other}.{suffix}")
    path = (tmp_path / f"plain.{suffix}").rename(tmp_path / f"{stem}.{suffix}")
    assert load_table(path, cut=False).values.tolist() == [[2.5]] * 3
    assert read_frame(path)["a"].to_list() == [2.5] * 3


def test_spaces_and_empty_lines_around_rows(tmp_path):
    path = csv(tmp_path / "a.csv", "a, b, c\n1, 2, x\n\n3, 4.5,\n\n")
    assert read_frame(path).rows() == [(1, 2.0, " x"), (3, 4.5, None)]
    assert load_table(csv(tmp_path / "b.csv", "1, 2\n\n3, 4.5\n\n"), cut=False).values.tolist() == [
        [1, 2],
        [3, 4.5],
    ]


def test_whole_numbers_that_float64_rounds(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1, 2], [2**53 + 1, 3]]))
    with pytest.raises(ValueError, match=r"got whole numbers beyond 2\^53, which float64 rounds"):
        load_table(tmp_path / "a.npy", cut=False)


def test_whole_numbers_of_either_sign_stay_whole_beside_words(tmp_path):
    (tmp_path / "a.csv").write_text("code\n-9007199254740993\n9007199254740993\nabc\n")
    frame = read_table_file(tmp_path / "a.csv", {"code": "numbers"}).frame
    assert frame["code"].to_list() == [-9007199254740993, 9007199254740993, "abc"]


def test_names_of_many_columns_are_compared_at_once(tmp_path):
    names = [f"c{i}" for i in range(40_000)]  # which took 13 s when each was looked up among all
    path = csv(tmp_path / "c.csv", ",".join(names) + "\n" + ",".join(["0.5"] * 40_000) + "\n")
    table = load_table(path, cut=False)
    assert table.values.shape == (1, 40_000)
    assert table.columns.names == tuple(names)


# Numbers as people write them, and cells as they are written

FORMATS = st.builds(
    lambda marks, places, affix, inside: NumberFormat(*affix, *marks, places, inside and bool(affix[0])),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("\u202f", ","), ("'", "."), ("", ","), ("", ".")]),
    st.integers(0, 4),
    st.sampled_from([("", ""), ("$", ""), ("€ ", ""), ("", " %"), ("", "%"), ("", "\u00a0€")]),
    st.booleans(),
)
NUMBERS = st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=20)


@pytest.mark.filterwarnings("ignore:.*(read as numbers|left as words)")
@hypothesis.settings(deadline=None, database=None, derandomize=True, max_examples=200)
@hypothesis.given(FORMATS, NUMBERS, st.sampled_from(",;\t"))
def test_written_numbers_are_read_exactly(tmp_path_factory, form, units, delimiter):
    numbers = [unit / 10**form.places for unit in units] if form.places else units
    cells = [form.write(number) for number in numbers]
    assert any([read.read(cell) for cell in cells] == numbers for read in formats_of(cells))
    path = tmp_path_factory.mktemp("written") / "a.csv"
    path.write_text("".join(f'"{cell}"{delimiter}x\n' for cell in ["a", *cells]), encoding="utf-8")
    file = read_table(path)
    if len(formats_of(cells)) == 1:
        assert file.frame["a"].to_list() == numbers
    assert file.cells()["a"].to_list() == cells
    assert like_cells(numbers, numbers, cells, None) == cells


@pytest.mark.filterwarnings("ignore:.*(read as numbers|left as words)")
@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ('a,b\n"1,234",x\n"12,345",y\n', [1234, 12345]),  # commas stand between columns
        ("a;b\n1,234;x\n12,345;y\n", [1.234, 12.345]),
        ("a\tb\n1,234\tx\n12,345\ty\n", ["1,234", "12,345"]),  # either
        ("a\tb\n1,234\t0,5\n12,345\t1,5\n", [1.234, 12.345]),  # by the other column
        ("a\tb\n1,234\t0.5\n12,345\t1.5\n", [1234, 12345]),
        ("a;b\n1.234;0,5\n12.345;1,5\n", [1234, 12345]),
        ("a;b\n1.234;0.5\n12.345;1.5\n", [1.234, 12.345]),
        ("a,b\n$1.50,x\n2.50,y\n", ["$1.50", "2.50"]),  # not all in one format
        ("a,b\nQ1,x\nQ2,y\n", ["Q1", "Q2"]),
        ("a,b\n192.168.0.1,x\n10.0.0.1,y\n", ["192.168.0.1", "10.0.0.1"]),
    ],
)
def test_marks_that_may_stand_for_thousands_or_decimals(tmp_path, text, entries):
    assert read_frame(csv(tmp_path / "a.csv", text))["a"].to_list() == entries


def test_written_numbers_are_reported_in_one_line(tmp_path):
    path = csv(tmp_path / "a.csv", "p\ts\tn\n$5.15\t40.9 %\t1,234\n-$6.00\t3 %\t5,678\n")
    with pytest.warns(UserWarning, match=r"'p' \('\$5.15' is 5.15\), 's' \('40.9 %' is 40.9\)") as caught:
        assert read_frame(path)["p"].to_list() == [5.15, -6.0]
    assert [str(warning.message).count("\n") for warning in caught] == [0]
    np.testing.assert_array_equal(
        load_table(csv(tmp_path / "b.csv", "1,5;2,25\n3;4\n"), cut=False).values, [[1.5, 2.25], [3, 4]]
    )


@pytest.mark.parametrize(
    ("known", "cells", "entry", "cell"),
    [
        ([47.2767, 1.5], ["47.276700", "1.500000"], 2.25, "2.250000"),
        ([datetime.date(2023, 9, 26)], ["26/09/2023"], datetime.date(2024, 1, 2), "02/01/2024"),
        ([datetime.date(2023, 9, 6)], ["6.9.2023"], datetime.date(2024, 1, 2), "2.1.2024"),
        (
            [datetime.datetime(2023, 9, 6, 10)],
            ["2023-09-06T10:00"],
            datetime.datetime(2024, 1, 2),
            "2024-01-02T00:00",
        ),
        ([True], ["TRUE"], False, "FALSE"),
        ([True], ["True"], False, "False"),
        ([7], ["007"], 7, "007"),
        ([1234], ["1,234"], 1234567, "1,234,567"),
        ([1, None], ["1", "NA"], 2.5, "2.5"),
    ],
)
def test_a_new_cell_is_written_as_the_others_of_its_column(known, cells, entry, cell):
    assert like_cells([entry, *known], known, cells, None) == [
        cell,
        *(c for c, k in zip(cells, known, strict=True) if k is not None),
        *[None] * known.count(None),
    ]
