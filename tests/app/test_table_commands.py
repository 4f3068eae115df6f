"""The commands on a table: one tiny run from a .csv file, and what is asked of it."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from flowkit.app import main

TINY = """\
[model]
name = "nsf"
layers = 2
hidden = [8]
bins = 4

[data]
source = "table.csv"

[training]
epochs = 2
batch_size = 32
adapt_batch = 1_000

[sampling]
count = 50
temperature = 1.0
"""
NAMES = ["offset", "small", "other"]
FAST = ["--set", "sampling.count=0", "--set", "training.epochs=1"]  # draws no pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    (folder / "tiny.toml").write_text(TINY)
    x = np.random.default_rng(0).normal([1e4, 0.0, 1.0], [1.0, 1e-3, 2.0], (200, 3))
    text = "".join(",".join(repr(float(n)) for n in row) + "\n" for row in x)
    (folder / "table.csv").write_text(",".join(NAMES) + "\n" + text)
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    words = ["--data", str(folder / "table.csv"), "--out", str(folder / "run")]
    assert main(["train", str(folder / "tiny.toml"), *words]) == 0
    return folder / "run"


def test_a_run_leaves_pictures_and_numbers(trained):
    for name in ("loss.png", "pairs.png", "quantiles.png"):
        assert Image.open(trained / name).size > (100, 100)
    assert not (trained / "samples.png").exists()
    metrics = json.loads((trained / "metrics.json").read_text())
    assert (metrics["train_rows"], metrics["test_rows"], metrics["columns"]) == (180, 20, 3)
    assert np.isfinite(metrics["test_log_prob"])
    assert metrics["verdict"]["log_prob"] == pytest.approx(metrics["test_log_prob"], rel=1e-5)
    assert metrics["verdict"]["sentence"].endswith(metrics["verdict"]["next"])
    # In the data's own units: the columns' scales are in it.
    assert metrics["test_log_prob"] > -3 * 1.5 - np.log(1e-3 * 2.0) - 3


def test_it_does_not_go_on_with_another_table(folder, tmp_path, capsys):
    table = tmp_path / "table.csv"
    lines = (folder / "table.csv").read_text().splitlines(keepends=True)
    table.write_text("".join(lines))
    arguments = [
        "train",
        str(folder / "tiny.toml"),
        "--data",
        str(table),
        "--out",
        str(tmp_path / "run"),
        *FAST,
    ]
    assert main(arguments) == 0
    table.write_text("".join([*lines[:-1], "10001.0,0.001,2.0\n"]))
    assert main([*arguments, "--epochs", "2", "--resume"]) != 0
    assert "got rows with fingerprint" in capsys.readouterr().err


def test_samples_are_a_table_of_the_same_columns(trained, tmp_path, capsys):
    assert main(["sample", str(trained), "-n", "7", "-o", str(tmp_path / "more.csv")]) == 0
    rows = list(csv.reader((tmp_path / "more.csv").open()))
    assert rows[0] == NAMES
    assert np.array(rows[1:], float).shape == (7, 3)
    assert main(["sample", str(trained), "-o", str(tmp_path / "more.png")]) != 0
    assert "ends in .csv" in capsys.readouterr().err
    assert main(["sample", str(trained), "--zoom", "3"]) != 0
    assert "--zoom: got a flow of tables" in capsys.readouterr().err


def test_it_is_scored_in_nats(trained, folder, tmp_path, capsys):
    assert main(["evaluate", str(trained)]) == 0
    assert "nats" in capsys.readouterr().out
    np.save(tmp_path / "wide.npy", np.zeros((20, 4)))
    for arguments, message in (
        (
            ["evaluate", str(trained), "--data", str(tmp_path / "wide.npy")],
            f"got 4 columns, expected those that the flow was trained on: {', '.join(NAMES)}",
        ),
        (["evaluate", str(trained), "--levels"], "expected a flow whose bijector is a MultiScale"),
        (
            ["interpolate", str(trained), str(trained / "loss.png"), str(trained / "loss.png")],
            "one of tables",
        ),
    ):
        assert main(arguments) != 0
        assert message in capsys.readouterr().err


def test_of_another_file_all_rows_are_scored_and_of_the_same_data_those_to_test_with(
    trained, folder, tmp_path, capsys
):
    def told(*arguments, run=trained):
        assert main(["evaluate", str(run), *arguments]) == 0
        return capsys.readouterr().out

    lines = (folder / "table.csv").read_text().splitlines(keepends=True)
    (tmp_path / "moved.csv").write_text("".join(lines))
    (tmp_path / "other.csv").write_text("".join(lines[:51]))
    (tmp_path / "one.csv").write_text("".join(lines[:2]))
    x = np.loadtxt(lines, delimiter=",", skiprows=1)
    np.savez(tmp_path / "split.npz", train=x, test=x[:7])
    mine = told()
    assert mine.startswith("test log-likelihood")
    assert "20 rows" in mine
    assert told("--data", str(tmp_path / "moved.csv")).split("(")[0] == mine.split("(")[0]
    for name, rows in (("other.csv", 50), ("one.csv", 1), ("split.npz", 7)):
        other = told("--data", str(tmp_path / name))
        assert other.startswith("log-likelihood")
        assert f"{name}, {rows} rows)" in other
    flow = trained / "flow.keras"
    assert "50 rows)" in told("--data", str(tmp_path / "other.csv"), run=flow)
    assert main(["evaluate", str(flow)]) != 0
    assert "a flow alone does not say what data it is of" in capsys.readouterr().err


def test_domains_by_name_of_columns(folder, tmp_path, capsys):
    arguments = ["--data", str(folder / "table.csv"), *FAST]
    known = ["--set", 'model.domains={offset = "positive"}', "--out", str(tmp_path / "run")]
    assert main(["train", str(folder / "tiny.toml"), *arguments, *known]) == 0
    wrong = ["--set", 'model.domains={weight = "positive"}', "--out", str(tmp_path / "none")]
    assert main(["train", str(folder / "tiny.toml"), *arguments, *wrong]) == 2
    assert "got the column 'weight', expected columns among 'offset'" in capsys.readouterr().err
    text = (tmp_path / "run" / "recipe.toml").read_text()
    (tmp_path / "elsewhere.toml").write_text(text.replace(str(folder / "table.csv"), "not-here.csv"))
    assert main(["info", str(tmp_path / "elsewhere.toml")]) == 0


def test_columns_of_whole_numbers_are_named(folder, tmp_path, capsys):
    x = np.random.default_rng(0).integers(0, 9, (100, 2))
    (tmp_path / "whole.csv").write_text("age,sex\n" + "".join(f"{a + 0.5},{b}\n" for a, b in x))
    arguments = ["--data", str(tmp_path / "whole.csv"), "--out", str(tmp_path / "run")]
    assert main(["train", str(folder / "tiny.toml"), *arguments]) != 0
    assert "in column 'sex', expected numbers that vary continuously. Add noise" in capsys.readouterr().err


def test_rows_that_cannot_be_scored_are_found_before_training(folder, tmp_path, capsys):
    lines = (folder / "table.csv").read_text().splitlines()
    for bad in (7, 150):
        spoilt = list(lines)
        spoilt[bad] = "nan," + spoilt[bad].split(",", 1)[1]
        (tmp_path / "bad.csv").write_text("\n".join(spoilt) + "\n")
        arguments = ["train", str(folder / "tiny.toml"), "--data", str(tmp_path / "bad.csv")]
        assert main([*arguments, "--out", str(tmp_path / "run")]) != 0
        assert f"got nan in column 'offset' of row {bad - 1}" in capsys.readouterr().err


def test_other_orders_of_columns_are_put_right(folder, trained, tmp_path, capsys):
    assert main(["evaluate", str(trained)]) == 0
    expected = capsys.readouterr().out.split("nats")[0]
    rows = list(csv.reader((folder / "table.csv").open()))
    (tmp_path / "turned.csv").write_text("".join(",".join(row[::-1]) + "\n" for row in rows))
    assert main(["evaluate", str(trained), "--data", str(tmp_path / "turned.csv")]) == 0
    assert capsys.readouterr().out.split("nats")[0] == expected


@pytest.mark.parametrize("family", ["flow_matching", "ffjord"])
def test_a_continuous_flow_learns_a_table_and_has_a_page(family, folder, tmp_path, monkeypatch, capsys):
    from flowkit import play

    loss = "flow_matching" if family == "flow_matching" else "likelihood"
    model = f'[model]\nname = "{family}"\nhidden = [8]\nsteps = 2\n\n'
    (tmp_path / "continuous.toml").write_text(
        model
        + TINY[TINY.index("[data]") :].replace("[training]", f'types = {{}}\n\n[training]\nloss = "{loss}"')
    )
    told = [
        str(tmp_path / "continuous.toml"),
        "--data",
        str(folder / "table.csv"),
        "--out",
        str(tmp_path / "run"),
        *FAST,
    ]
    assert main(["train", *told]) == 0
    assert np.isfinite(json.loads((tmp_path / "run" / "metrics.json").read_text())["test_log_prob"])
    told[4] = str(tmp_path / "other")
    assert main(["train", *told, "--set", "data.drop=['small']"]) != 0
    assert f"got {family}, expected a family of mixed tables, such as nsf" in capsys.readouterr().err
    pages = []
    monkeypatch.setattr(play, "write_page", lambda flow, folder, **how: pages.append(how) or folder)
    assert main(["play", str(tmp_path / "run"), "--out", str(tmp_path / "page")]) == 0
    assert pages[0]["test"].values.shape == (20, 3)
    assert list(pages[0]["test"].names) == NAMES
