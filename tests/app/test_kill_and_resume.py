"""kill -9 in the middle of an epoch, then the same command with --resume: the same numbers, bit for bit."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from flowkit import training
from flowkit.app import main
from flowkit.engines import engine

pytestmark = pytest.mark.long

RECIPE = """\
[model]
name = "glow"
levels = 2
steps = 1
width = 8
num_classes = 10

[data]
source = "digits"
limit = 80

[training]
epochs = 4
batch_size = 16
seed = 11
learning_rate = 2e-3
warmup_steps = 3
schedule = "cosine"
ema = 0.9
clip_norm = 50.0

[sampling]
count = 10
"""

# The process dies when the fourth batch of the third epoch is asked for.
KILLED = """
import os, signal, sys
from flowkit.data import Batches
from flowkit.app import main

ordinary = Batches.__getitem__

def deadly(self, index):
    if (self.epoch, index) == (2, 3):
        os.kill(os.getpid(), signal.SIGKILL)
    return ordinary(self, index)

Batches.__getitem__ = deadly
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(never stopped, killed and resumed)"""
    folder = tmp_path_factory.mktemp("runs")
    recipe = folder / "r.toml"
    recipe.write_text(RECIPE)
    whole, killed = folder / "whole", folder / "killed"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "train", str(recipe), "--out", str(killed)],
        env=os.environ | {"KERAS_BACKEND": engine.name},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert json.loads(str(np.load(killed / "checkpoint.npz")["meta"]))["epoch"] == 2
    assert not (killed / "flow.keras").exists()
    assert main(["train", str(recipe), "--out", str(whole)]) == 0
    assert main(["train", str(recipe), "--out", str(killed), "--resume"]) == 0
    return whole, killed


def test_all_state_is_the_same_bit_for_bit(runs):
    whole, killed = (np.load(run / "checkpoint.npz") for run in runs)
    assert set(whole.files) == set(killed.files)
    assert len(whole.files) > 50
    different = [name for name in whole.files if whole[name].tobytes() != killed[name].tobytes()]
    assert different == []


def test_all_numbers_are_the_same(runs):
    whole, killed = (json.loads((run / "metrics.json").read_text()) for run in runs)
    for key in ("test_bits_per_dim", "test_standard_error", "train_bits_per_dim", "epochs"):
        assert whole[key] == killed[key]
    logs = [training.read_log(run / "log.csv") for run in runs]
    for row in (*logs[0], *logs[1]):
        del row["seconds"]
    assert logs[0] == logs[1]
    assert [row["epoch"] for row in logs[0]] == [1, 2, 3, 4]


def test_all_pictures_are_the_same(runs):
    names = ["samples.png", *(f"samples/epoch-00{k}.png" for k in (1, 2, 3, 4))]
    for name in names:
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes()
    assert len({(runs[0] / name).read_bytes() for name in names[1:]}) == 4
