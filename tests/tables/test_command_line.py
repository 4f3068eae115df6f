"""Mixed tables on the command line: train, score, evaluate and sample, also given some columns."""

import contextlib
import io
import json
import re
import subprocess
import sys
import tomllib
from datetime import time
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from flowkit.app import main
from flowkit.app.failure import CommandError
from flowkit.app.write import TABLES, check_output, write_table
from flowkit.data.table import read_frame

pytestmark = pytest.mark.one_engine
SMALL = [
    "--epochs",
    "1",
    "--set",
    "model.layers=1",
    "--set",
    "model.hidden=[8]",
    "--set",
    "sampling.count=40",
]


def run(*words):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(list(map(str, words))) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("tables") / "rentals.csv"
    day = np.datetime64("2026-03-01") + rng.integers(0, 50, 300)
    pl.DataFrame(
        {
            "id": [f"row {i}" for i in range(300)],
            "weather": rng.choice(["clear", "rain"], 300),
            "bikers": rng.poisson(5, 300),
            "humidity": rng.uniform(size=300),
            "day": day.astype(str),
            "wind": [
                None if i % 9 == 0 else round(float(v), 1) for i, v in enumerate(rng.gamma(2, size=300))
            ],
        }
    ).write_csv(path)
    return path


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "table"
    words = ["--data", table, "--out", folder, "--drop", "id", "--types", "humidity=[0,1]"]
    limit = ["--set", "data.limit=25", "--set", "training.batch_size=20"]
    return folder, run("train", "table", *words, *SMALL, *limit)


@pytest.mark.filterwarnings("ignore:.*read as numbers")
def test_samples_are_written_as_the_file_was_also_from_a_preset(tmp_path):
    rng, n = np.random.default_rng(0), 60
    days = [f"{day:02}/{month:02}/2026" for day, month in rng.integers(1, [29, 13], (n, 2))]
    prices = [f"{v:.2f} €".replace(".", ",") for v in rng.gamma(2, 9, n)]
    entries = {"day": days, "price": prices, "member": rng.choice(["TRUE", "FALSE"], n)}
    pl.DataFrame(entries).write_csv(tmp_path / "sales.csv", separator=";")
    run("train", "table", tmp_path / "sales.csv", "-o", tmp_path / "run", *SMALL)
    command = [sys.executable, "-m", "flowkit", "preset", tmp_path / "run", tmp_path / "preset"]
    subprocess.run(command, check=True)  # in a process that has loaded no table
    for source in ("run", "preset"):
        run("sample", tmp_path / source, "-n", 20, "-o", tmp_path / "drawn.csv")
        first, *lines = (tmp_path / "drawn.csv").read_text(encoding="utf-8").splitlines()
        assert first == "day;price;member"
        assert len(lines) == 20
        for line in lines:
            assert re.fullmatch(r"\d\d/\d\d/\d{4};-?\d+,\d\d €;(TRUE|FALSE)", line)


def test_training_prints_the_types_and_writes_pictures(trained):
    folder, printed = trained
    assert "weather   category" in printed
    assert "humidity  bounded" in printed
    assert "test log-likelihood" in printed
    assert {"pairs.png", "quantiles.png", "loss.png", "flow.keras"} <= {
        path.name for path in folder.iterdir()
    }


def test_scores_keep_the_columns_that_the_flow_does_not_read(trained, table, tmp_path):
    folder, _ = trained
    output = tmp_path / "scores.csv"
    assert "log_prob_bound" in run("score", folder, table, "-o", output)
    scores = pl.read_csv(output)
    assert scores.columns == ["id", "log_prob_bound"]
    assert scores["id"].to_list() == pl.read_csv(table)["id"].to_list()
    assert np.isfinite(scores["log_prob_bound"].to_numpy()).all()


def test_wrong_rows_have_no_likelihood_and_the_first_is_named(trained, table, tmp_path, capsys):
    folder, _ = trained
    weather = pl.Series(["rain", "rain", "clear", "snow", "rain"])
    rows = pl.read_csv(table).head(5).with_columns(bikers=pl.Series([1, 99, 2, 3, 2]), weather=weather)
    rows.write_csv(tmp_path / "new.csv")
    printed = run("score", folder, tmp_path / "new.csv", "-o", tmp_path / "scores.csv")
    skipped = "1 of 5 rows are skipped and have -inf, the first: got 99 in column 'bikers' of row 1"
    assert skipped in capsys.readouterr().err
    assert "4 rows)" in printed
    scores = pl.read_csv(tmp_path / "scores.csv")["log_prob_bound"].to_numpy()
    assert np.flatnonzero(np.isneginf(scores)).tolist() == [1]  # an unseen category has a share
    found = json.loads(run("score", folder, tmp_path / "new.csv", "-o", tmp_path / "scores.csv", "--json"))
    assert (found["rows"], found["excluded"]) == (4, 1)
    assert found["first_excluded"].startswith("got 99 in column 'bikers' of row 1")
    assert found["log_prob_bound"] == pytest.approx(scores[np.isfinite(scores)].mean(), rel=1e-4)
    evaluated = json.loads(run("evaluate", folder, tmp_path / "new.csv", "--json"))
    assert (evaluated["rows"], evaluated["skipped"]) == (4, 1)
    assert evaluated["log_prob"] == pytest.approx(found["log_prob_bound"], rel=1e-6)
    rows[1:2].write_csv(tmp_path / "new.csv")
    run("score", folder, tmp_path / "new.csv", "-o", tmp_path / "scores.csv")
    assert "1 of 1 rows" in capsys.readouterr().err


def test_alarms_say_which_column(trained, table, tmp_path, capsys):
    folder, output = trained[0], tmp_path / "scores.csv"
    rows = pl.read_csv(table).with_columns(bikers=pl.Series([99, *pl.read_csv(table)["bikers"][1:]]))
    rows.write_csv(tmp_path / "new.csv")
    printed = run("score", folder, tmp_path / "new.csv", "--alarms", 0.1, "-o", output)
    found = pl.read_csv(output)
    assert found.columns == ["id", "log_prob_bound", "p_value", "is_outlier", "column", "expected"]
    odd = found.filter(pl.col("is_outlier"))
    assert f"{len(odd):,} of 300 rows are unusual" in printed
    assert (found["is_outlier"] == (found["p_value"] <= 0.1)).all()
    assert odd.row(0, named=True)["column"] == "bikers"
    assert odd["expected"].str.contains("expected|98 %").all()
    assert main(["score", str(folder), str(table), "--alarms", "0.01", "-o", str(output)]) == 2
    assert "expected at least 99" in (error := capsys.readouterr().err)
    assert "--calibration FILE gives other rows" in error
    run("score", folder, table, "--alarms", 0.01, "--calibration", table, "-o", output)
    assert main(["score", str(folder), str(table), "--calibration", str(table), "-o", str(output)]) == 2
    assert "without --alarms, expected both" in capsys.readouterr().err
    pl.read_csv(table).rename({"id": "expected"}).write_csv(tmp_path / "new.csv")
    run("score", folder, tmp_path / "new.csv", "-o", output)
    assert main(["score", str(folder), str(tmp_path / "new.csv"), "--alarms", "0.1", "-o", str(output)]) == 2
    assert "got a column 'expected'" in capsys.readouterr().err


def test_samples_with_fixed_entries(trained, tmp_path, capsys):
    folder, output = trained[0], tmp_path / "samples.csv"
    run("sample", folder, "-n", 20, "--where", "weather=rain", "--where", "day=2026-03-09", "-o", output)
    drawn = pl.read_csv(output)
    assert (set(drawn["weather"]), set(drawn["day"])) == ({"rain"}, {"2026-03-09"})
    for word, message in [
        ("weather=snow", "--where: got 'snow' for column 'weather'"),
        ("wether=rain", "the nearest is weather"),
        ("weather", "expected COLUMN=ENTRY"),
    ]:
        assert main(["sample", str(folder), "--where", word, "-o", str(output)]) == 2
        assert message in capsys.readouterr().err


def test_names_that_are_no_columns_name_the_nearest(table, tmp_path, capsys):
    words = ["train", "table", "--data", str(table), "--dry-run"]
    for option in (
        ["--drop", "wether"],
        ["--drop", "id", "--given", "wether"],
        ["--types", "wether=category"],
    ):
        assert main([*words, *option]) == 2
        assert "got 'wether', expected names of columns; the nearest is weather" in capsys.readouterr().err
    assert main([*words, "--given", "weather", "--drop", "id,weather"]) == 2
    assert "got column 'weather' in given= and in drop=" in capsys.readouterr().err
    (tmp_path / "one.csv").write_text("a,b\n1,2\n")
    assert main(["train", "table", "--data", str(tmp_path / "one.csv")]) == 2
    assert "expected at least 2 rows for a 90/10 split" in capsys.readouterr().err


def test_types_of_several_columns_in_one_option(table, capsys):
    words = ["train", "table", "--data", str(table), "--dry-run", "--drop", "id"]
    assert main([*words, "--types", "humidity=[0,1],wind=positive", "--types", "bikers=[0, 40]"]) == 0
    printed = capsys.readouterr().out
    assert "humidity = [0, 1]" in printed
    assert 'wind = "positive"' in printed
    assert "bikers = [0, 40]" in printed


def test_scores_do_not_overwrite_the_table(trained, table, monkeypatch, capsys):
    folder, _ = trained
    monkeypatch.chdir(table.parent)
    assert main(["score", str(folder), str(table), "-o", table.name]) == 2
    assert "expected another file" in capsys.readouterr().err
    assert len(pl.read_csv(table)) == 300


def test_evaluation_of_test_rows_and_of_another_table(trained, table, tmp_path):
    folder, _ = trained
    printed = run("evaluate", folder)
    assert "test log-likelihood" in printed
    assert "25 rows" in printed  # the recipe's data.limit, of the 30 rows to test with
    other = tmp_path / "other.csv"
    pl.read_csv(table).head(20).write_csv(other)
    assert "20 rows" in run("evaluate", folder, "--data", other, "--samples", 2)


def test_samples_are_a_table_of_the_same_types(trained, table, tmp_path):
    folder, _ = trained
    output = tmp_path / "samples.csv"
    run("sample", folder, "-n", 30, "-o", output)
    drawn, data = pl.read_csv(output, try_parse_dates=True), pl.read_csv(table, try_parse_dates=True)
    assert drawn.schema == data.drop("id").schema
    assert set(drawn["weather"]) <= {"clear", "rain"}


@pytest.fixture(scope="module")
def conditional(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "conditional"
    words = [table, "-o", folder, "--columns", "bikers,wind", "--given", "weather,humidity", "--seed", 3]
    assert run("train", "table", *words, *SMALL, "--quiet").startswith("test log-likelihood")
    assert "seed = 3" in (folder / "recipe.toml").read_text()
    return folder


def test_a_conditional_table(conditional, table, tmp_path, capsys):
    folder, output = conditional, tmp_path / "samples.csv"
    run("score", folder, table, "-o", tmp_path / "scores.csv")
    few = tmp_path / "few.csv"
    pl.read_csv(table).head(3).write_csv(few)
    run("sample", folder, "-n", 2, "--given", few, "-o", output)
    assert pl.read_csv(output)["weather"].to_list() == pl.read_csv(few)["weather"].to_list() * 2
    pl.read_csv(few).with_columns(weather=pl.lit("snow")).write_csv(few)
    run("sample", folder, "-n", 1, "--given", few, "-o", output)  # a category that training did not see
    assert pl.read_csv(output)["weather"].to_list() == ["snow"] * 3
    assert main(["sample", str(folder), "--given", str(few), "-o", str(few)]) == 2
    assert len(pl.read_csv(few)) == 3


def test_missing_entries_are_filled_beside_columns_that_the_flow_does_not_read(
    trained, table, tmp_path, capsys
):
    folder, output = trained[0], tmp_path / "filled.csv"
    rows = (
        pl.read_csv(table, try_parse_dates=True).head(12).with_columns(weather=pl.Series(["rain", None] * 6))
    )
    rows.write_csv(tmp_path / "gaps.csv")
    printed = run("impute", folder, tmp_path / "gaps.csv", "-o", output, "--sweeps", 1)
    assert "filled 8 missing entries of 12 rows" in printed
    filled = pl.read_csv(output, try_parse_dates=True)
    assert filled.schema == rows.schema
    assert filled.null_count().sum_horizontal().item() == 0
    present = rows["weather"].is_not_null() & rows["wind"].is_not_null()
    assert filled.filter(present).equals(rows.filter(present))
    assert set(filled["weather"]) == {"rain", "clear"} or set(filled["weather"]) == {"rain"}
    rows.with_columns(bikers=pl.lit(99)).write_csv(tmp_path / "gaps.csv")
    assert main(["impute", str(folder), str(tmp_path / "gaps.csv"), "-o", str(output)]) == 2
    assert "got 99 in column 'bikers' of row 0" in capsys.readouterr().err
    assert main(["impute", "glow/digits", str(tmp_path / "gaps.csv"), "-o", str(output)]) == 2
    assert "expected a flow of a table" in capsys.readouterr().err


def written(path, *lines, delimiter=","):
    path.write_text("\n".join(["id,weather,bikers,humidity,day,wind".replace(",", delimiter), *lines]) + "\n")
    return path


@pytest.mark.parametrize("command", ["score", "impute", "evaluate", "sample"])
def test_wrong_rows_are_skipped_or_refused_alike(command, trained, conditional, tmp_path, capsys):
    right = "TRUE,rain,4,0.50,26/03/2026,1.5"
    rows = [right, right.replace("0.50", "wet"), right.replace("26/03/2026", "32/03/2026"), right]
    gap = right.replace("4", "")
    data = written(tmp_path / "new.csv", *rows, gap)
    words = {
        "score": ["score", trained[0], data, "-o", tmp_path / "out.csv"],
        "impute": ["impute", trained[0], "--data", data, "-o", tmp_path / "out.csv"],
        "evaluate": ["evaluate", trained[0], data],
        "sample": ["sample", conditional, "-n", 2, "--given", data, "-o", tmp_path / "out.csv"],
    }[command]
    wrong = {"score": 3, "impute": 2, "evaluate": 3, "sample": 1}[
        command
    ]  # a gap is wrong if it is not filled
    printed, said = run(*words), capsys.readouterr().err
    assert f"new.csv: {wrong} of 5 rows are skipped" in said
    assert (
        "the first: got 'wet' in column 'humidity' of row 1, counted from 0, expected a number in (0, "
        in said
    )
    assert "Leave the row out" in said
    out = tmp_path / "out.csv"
    if command == "evaluate":
        assert "2 rows)" in printed
    else:
        assert len(out.read_text().splitlines()) == 1 + (5 if command != "sample" else 2 * 4)
        out.unlink()
    assert main([*map(str, words), "--strict"]) == 2
    assert "got 'wet' in column 'humidity' of row 1" in capsys.readouterr().err
    assert not out.exists()
    written(data, rows[1])
    assert main(list(map(str, words))) == (0 if command == "score" else 2)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_cells_that_are_not_filled_stay_as_they_are_and_others_are_written_alike(
    delimiter, trained, tmp_path
):
    lines = [
        "TRUE,rain,04,0.5000,26/03/2026,1.5",
        "FALSE,,,0.276700,06/04/2026,",
        ",clear,7,,,2.0",
        "TRUE,rain,7,0.2500,,odd",  # a wrong row
    ]
    if delimiter == ";":
        lines = [line.replace(",", ";").replace(".", ",") for line in lines]
    data = written(tmp_path / "gaps.csv", *lines, delimiter=delimiter)
    run("impute", trained[0], data, "-o", tmp_path / "filled.csv", "--sweeps", 1)
    given, filled = (
        [line.split(delimiter) for line in path.read_text().splitlines()]
        for path in (data, tmp_path / "filled.csv")
    )
    assert filled[4] == given[4]
    for before, after in zip(given, filled, strict=True):
        assert all(old in ("", new) for old, new in zip(before, after, strict=True))
    assert [row[0] for row in filled] == [row[0] for row in given]
    assert all("" not in row[1:] for row in filled[:4])
    assert re.fullmatch(r"\d\d/\d\d/2026", filled[3][4])
    assert re.fullmatch(r"0[.,]\d+", filled[3][3])
    run("score", trained[0], data, "-o", tmp_path / "scores.csv")
    scores = [line.split(delimiter) for line in (tmp_path / "scores.csv").read_text().splitlines()]
    assert [row[0] for row in scores] == [row[0] for row in given]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npz"])
def test_tables_are_written_by_the_ending_of_their_name(suffix, trained, table, tmp_path):
    path = tmp_path / f"out{suffix}"
    run("sample", trained[0], "-n", 5, "-o", path)
    if suffix == ".npz":
        with np.load(path) as arrays:
            drawn = pl.DataFrame({name: arrays[name] for name in arrays})
    else:
        drawn = pl.read_parquet(path) if suffix == ".parquet" else read_frame(path)
    assert drawn.columns == pl.read_csv(table).drop("id").columns
    assert drawn["day"].dtype.is_temporal()
    assert len(drawn) == 5
    for command in ("score", "impute"):
        run(command, trained[0], table, "-o", path)
        assert path.stat().st_size


def test_arrays_keep_all_digits_of_numbers(tmp_path):
    whole, price = [2**53 + 1, None, 3], [Decimal("12345678901234567.89"), None, Decimal(3)]
    hour = [time(12, 30), None, time(1)]
    frame = pl.DataFrame({"whole": whole, "price": price, "time": hour, "some": [1, None, 3]})
    write_table(tmp_path / "x.npz", frame)
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["whole"].tolist() == ["9007199254740993", "", "3"]
        assert list(map(Decimal, arrays["price"][[0, 2]])) == [price[0], price[2]]
        assert arrays["time"][0].startswith("12:30")
        np.testing.assert_array_equal(arrays["some"], [1, np.nan, 3])


def test_a_run_is_replaced_by_force_alone(conditional, table, tmp_path, capsys):
    words = ["train", "table", str(table), "-o", str(conditional), "--drop", "id", *SMALL]
    assert main(words) == 2
    assert "--force to replace it" in capsys.readouterr().err
    assert main([*words, "--force", "--resume"]) == 2
    assert main([*words, "--data", str(table)]) == 2
    assert "expected one of them" in capsys.readouterr().err
    (conditional / "mine.txt").touch()
    assert main([*words, "--force", "--quiet"]) == 0
    assert "given = []" in (conditional / "recipe.toml").read_text()
    assert (conditional / "mine.txt").exists()
    for file in ("log.csv", "flow.keras", "checkpoint.npz"):  # as of a recipe of one's own, beside a thesis
        (conditional / file).unlink()
    assert main([*words, "--force"]) == 2
    assert "nothing else of a run" in capsys.readouterr().err


def test_no_file_that_is_read_is_written_over(tmp_path):
    for output, table in (("x.npz", "x.npz:data"), ("x.csv", "x.csv"), ("x.npz", "x.npz")):
        with pytest.raises(CommandError, match="itself, expected another file"):
            check_output(tmp_path / output, TABLES, None, str(tmp_path / table))


def test_a_dry_run_prints_the_types(table):
    printed = run("train", "table", table, "--dry-run", "--drop", "id")
    assert "# weather   category" in printed
    assert tomllib.loads(printed)["data"]["drop"] == ["id"]
