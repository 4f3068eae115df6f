"""Runs of recipes that hold rows out: validation and test apart, the best weights, an early end."""

import json

import numpy as np
import pytest

from flowkit import training
from flowkit.app import main
from flowkit.app.experiment import load as load_data
from flowkit.app.run_folder import RunFolder

IMAGES = """\
[model]
name = "glow"
levels = 1
steps = 1
width = 8
num_classes = 10

[data]
source = "digits"
limit = 80
crop = 6
validation = 0.2

[training]
epochs = 12
batch_size = 16
learning_rate = 0.5
early_stopping = 2

[sampling]
count = 0
"""

ROWS = """\
[model]
name = "nsf"
layers = 2
hidden = [8]

[data]
source = "table.csv"
validation = 30

[training]
epochs = 3
batch_size = 32
ema = 0.5

[sampling]
count = 0
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A run whose rate is so high that it gets worse."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "r.toml").write_text(IMAGES)
    assert main(["train", str(folder / "r.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def numbers(run):
    return json.loads((run / "metrics.json").read_text()), training.read_log(run / "log.csv")


def test_an_early_end_and_the_best_weights(images, capsys):
    metrics, log = numbers(images)
    scores = [row["val_bits_per_dim"] for row in log]
    assert (metrics["kept_epoch"], metrics["epochs"], len(log)) == (0, 2, 2)  # 0 are the weights of the start
    assert metrics["validation_bits_per_dim"] < min(scores)
    assert metrics["train_bits_per_dim"] is None
    recipe, flow = RunFolder(images).recipe(), RunFolder(images).load_flow()
    held_out, test = (load_data(recipe, split) for split in ("validation", "test"))
    for split, name in ((held_out, "validation"), (test, "test")):
        bits = flow.bits_per_dim(split.images, split.labels)
        assert metrics[f"{name}_bits_per_dim"] == pytest.approx(bits.mean(), rel=1e-6)
    assert (metrics["train_images"], metrics["validation_images"], metrics["test_images"]) == (64, 16, 80)


def test_a_run_that_has_ended_early_is_over(images, capsys):
    before = numbers(images)
    assert main(["train", str(images.parent / "r.toml"), "--out", str(images), "--resume"]) == 0
    assert "stopped early: no better validation score since the start" in capsys.readouterr().out
    after = numbers(images)
    assert after[1] == before[1]
    for key in ("test_bits_per_dim", "validation_bits_per_dim", "kept_epoch", "epochs"):
        assert after[0][key] == before[0][key]


def test_rows_of_a_table_and_the_curves_beside_each_other(tmp_path, monkeypatch, capsys):
    (tmp_path / "r.toml").write_text(ROWS)
    np.savetxt(tmp_path / "table.csv", np.random.default_rng(0).normal(size=(200, 3)), delimiter=",")
    drawn = []
    monkeypatch.setattr(training, "save_curves", lambda path, epochs, curves, **_: drawn.append(curves))
    run = tmp_path / "run"
    arguments = ["--data", str(tmp_path / "table.csv"), "--out", str(run)]
    assert main(["train", str(tmp_path / "r.toml"), *arguments]) == 0
    assert "validation" in capsys.readouterr().out
    metrics, log = numbers(run)
    assert (metrics["train_rows"], metrics["validation_rows"], metrics["test_rows"]) == (150, 30, 20)
    assert drawn == [{"train": [row["loss"] for row in log], "validation": [row["val_loss"] for row in log]}]
    recipe, flow = RunFolder(run).recipe(), RunFolder(run).load_flow()
    for split in ("validation", "test"):
        rows = load_data(recipe, split).values
        assert metrics[f"{split}_log_prob"] == pytest.approx(flow.log_prob(rows).mean(), rel=1e-6)
