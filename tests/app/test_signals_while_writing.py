"""SIGTERM that comes again while a checkpoint is written, as launchers and clusters send it, does not cut it."""

import signal

import numpy as np
import pytest

from flowkit.app import main
from flowkit.training import checkpoint

RECIPE = """\
[model]
name = "glow"
levels = 1
steps = 1
width = 4

[data]
source = "digits"
limit = 64

[training]
epochs = 3
batch_size = 32

[sampling]
count = 0
"""


@pytest.mark.one_engine
def test_the_checkpoint_is_whole_and_training_ends_after_it(tmp_path, monkeypatch, capsys):
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
