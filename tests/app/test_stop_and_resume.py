"""SIGTERM and Ctrl-C within an epoch, then the same command with --resume: the same numbers, bit for bit."""

import json
import signal

import numpy as np
import pytest

from flowkit import data, training
from flowkit.app import main
from flowkit.training import checkpoint

RECIPE = """\
[model]
name = "glow"
levels = 1
steps = 1
width = 8
num_classes = 10

[data]
source = "digits"
limit = 100
augment = ["shift"]
validation = 20

[training]
epochs = 3
batch_size = 16
seed = 5
learning_rate = 2e-3
warmup_steps = 3
schedule = "cosine"
ema = 0.9

[sampling]
count = 10
"""

# (signal, epoch and step after which it comes, what is said); epochs have five steps
STOPS = [
    (
        signal.SIGTERM,
        (1, 3),
        "terminated after step 3 of epoch 2; --resume goes on from the last checkpoint in ",
    ),
    (
        signal.SIGINT,
        (2, 1),
        "interrupted after step 1 of epoch 3; --resume goes on from the last checkpoint in ",
    ),
    (signal.SIGTERM, (2, 5), "terminated after epoch 3; --resume goes on from the last checkpoint in "),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(never stopped, stopped three times); one step of the second epoch has no gradients"""
    folder = tmp_path_factory.mktemp("runs")
    recipe = folder / "r.toml"
    recipe.write_text(RECIPE)
    batch = data.Batches.__getitem__
    between, end = training.Resume.on_train_batch_begin, training.Resume.on_epoch_end
    signals = {}

    def poisoned(self, index):
        (inputs,) = batch(self, index)
        inputs["x"] = inputs["x"].astype("float32")
        if (self.epoch, self.step + index) == (1, 1):
            inputs["x"] *= np.nan
        return (inputs,)

    def signalled_between(self, index, logs=None):
        signalled(self, 5 - self.params["steps"] + index)
        between(self, index, logs)

    def signalled_at_the_end(self, epoch, logs=None):
        signalled(self, 5)
        end(self, epoch, logs)

    def signalled(self, steps):
        place = self._epoch, steps
        if place in signals:
            signal.raise_signal(signals.pop(place))

    # As if started in the foreground: a shell lets what it starts in the background ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data.Batches, "__getitem__", poisoned)
        patch.setattr(training.Resume, "on_train_batch_begin", signalled_between)
        patch.setattr(training.Resume, "on_epoch_end", signalled_at_the_end)
        whole, stopped = folder / "whole", folder / "stopped"
        assert main(["train", str(recipe), "--out", str(whole)]) == 0
        said = []
        for number, place, _ in STOPS:
            signals[place] = number
            patch.setattr("flowkit.app.failure.say", said.append)
            arguments = ["train", str(recipe), "--out", str(stopped), *["--resume"] * bool(said)]
            assert main(arguments) == 128 + number
            assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
        assert said == [f"{words}{stopped}" for _, _, words in STOPS]
        assert main(["train", str(recipe), "--out", str(stopped), "--resume"]) == 0
    signal.signal(signal.SIGINT, before)
    return whole, stopped


def test_all_state_is_the_same_bit_for_bit(runs):
    whole, stopped = (np.load(run / "checkpoint.npz") for run in runs)
    assert set(whole.files) == set(stopped.files)
    different = [name for name in whole.files if whole[name].tobytes() != stopped[name].tobytes()]
    assert different == []


def test_the_logs_are_the_same_skipped_steps_and_running_means_included(runs):
    logs = [training.read_log(run / "log.csv") for run in runs]
    for row in (*logs[0], *logs[1]):
        assert row.pop("seconds") > 0
    assert repr(logs[0]) == repr(logs[1])  # one loss is NaN
    assert [row["skipped"] for row in logs[0]] == [0, 1, 0]


def test_all_numbers_and_pictures_are_the_same(runs):
    whole, stopped = (json.loads((run / "metrics.json").read_text()) for run in runs)
    for key in (
        "test_bits_per_dim",
        "validation_bits_per_dim",
        "kept_epoch",
        "train_bits_per_dim",
        "epochs",
        "skipped_steps",
    ):
        assert whole[key] == stopped[key]
    for name in ("samples.png", "samples/epoch-001.png", "samples/epoch-003.png"):
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes()


def test_sigterm_while_a_checkpoint_is_written_does_not_cut_it(tmp_path, monkeypatch, capsys):
    """As launchers and clusters send it again, and again."""
    recipe, run, write = tmp_path / "r.toml", tmp_path / "run", np.savez
    recipe.write_text(RECIPE)

    def signalled(file, **arrays):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        write(file, **arrays)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(np, "savez", signalled)
    assert main(["train", str(recipe), "--out", str(run)]) == 143
    assert "terminated after epoch 1; --resume goes on from the last checkpoint" in capsys.readouterr().err
    _, meta = checkpoint.read(run / "checkpoint.npz")
    assert (meta["epoch"], meta["step"]) == (1, 0)
