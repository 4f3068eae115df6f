"""The last picture comes when all else is saved: a run that cannot draw it has its flow and its numbers."""

import json
import re

from flowkit import training
from flowkit.app import main

SETTINGS = {
    "model.levels": 1,
    "model.steps": 1,
    "model.width": 4,
    "data.limit": 80,
    "training.batch_size": 32,
    "training.adapt_batch": 32,
    "sampling.count": 4,
}


def test_a_run_without_its_last_picture_is_whole_but_for_it(tmp_path, monkeypatch, capsys):
    run, given = tmp_path / "run", [f"--set={key}={value}" for key, value in SETTINGS.items()]
    words = ["train", "glow/digits", "--out", str(run), "--epochs", "1", *given]
    for error, code in ((MemoryError("pretended"), 1), (KeyboardInterrupt(), 130)):

        def fail(*args, error=error, **kwargs):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(training, "sample_grid", fail)
            assert main(words) == code
        said = capsys.readouterr()
        assert (run / "flow.keras").is_file()
        assert json.loads((run / "metrics.json").read_text())["test_bits_per_dim"] > 0
        assert (run / "loss.png").is_file()
        assert not (run / "samples.png").exists()
        assert re.search(r"^test bits/dim", said.out, re.MULTILINE)
        assert "samples " not in said.out
        assert ("not enough memory (pretended)" in said.err) is (code == 1)
        words = [*words, "--resume"] if code == 1 else words
    assert main(words) == 0
    assert (run / "samples.png").is_file()
