"""`flowkit train` in two processes: the main one has the files and the word, and a signal to one is heard by both."""

import json
import signal
import time

import numpy as np
import pytest

from flowkit import backends
from flowkit.training import read_log
from tests.distributed.launching import SECONDS

pytestmark = pytest.mark.skipif(backends.name() not in ("torch", "jax"), reason="one process on this engine")

TRAIN = (
    *("-m", "flowkit", "train", "glow/digits", "--out", "run", "--epochs", "2", "--set", "data.limit=64"),
    *(
        "--set",
        "model.levels=1",
        "--set",
        "model.steps=1",
        "--set",
        "model.width=4",
        "--set",
        "sampling.count=4",
    ),
    *("--set", "training.batch_size=32", "--set", "training.adapt_batch=32", "--set", "training.ema=0"),
)


def words(group, rank):
    """What flowkit has said, without the engines' own words."""
    lines = group.said(rank).splitlines()
    return [line for line in lines if line.startswith(("flowkit:", "epoch", "test", "samples"))]


def test_one_process_writes_and_talks_and_both_are_refused_together(launch, tmp_path):
    group = launch(tmp_path, *TRAIN, engine=backends.name(), CUDA_VISIBLE_DEVICES="")
    assert group.wait() == [0, 0], group.said(0) + group.said(1)
    assert [line.split()[:2] for line in words(group, 0) if line.startswith("epoch")] == [
        ["epoch", "1/2"],
        ["epoch", "2/2"],
    ]
    assert words(group, 1) == []
    assert [row["epoch"] for row in read_log(tmp_path / "run" / "log.csv")] == [1, 2]
    assert (tmp_path / "run" / "flow.keras").is_file()
    assert (tmp_path / "run" / "metrics.json").is_file()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    again = launch(tmp_path, *TRAIN, engine=backends.name(), CUDA_VISIBLE_DEVICES="")
    assert again.wait() == [2, 2]
    assert "holds a run already" in again.said(0)
    assert words(again, 1) == []
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_sigterm_that_reaches_one_process_and_comes_again_ends_both_with_a_checkpoint(launch, tmp_path):
    long = ("--epochs", "100000", "--set", "training.checkpoint_minutes=0.01")
    group = launch(tmp_path, *TRAIN[:6], *TRAIN[8:], *long, engine=backends.name(), CUDA_VISIBLE_DEVICES="")
    end = time.monotonic() + SECONDS
    while not (tmp_path / "run" / "checkpoint.npz").exists():
        assert time.monotonic() < end, group.said(0)
        time.sleep(0.1)
    for _ in range(3):  # as a launcher hands on what a cluster has sent to all
        group.processes[1].send_signal(signal.SIGTERM)
        time.sleep(0.02)
    assert group.wait() == [130, 143], group.said(0) + group.said(1)
    meta = json.loads(str(np.load(tmp_path / "run" / "checkpoint.npz")["meta"]))
    place = f"step {meta['step']} of epoch {meta['epoch'] + 1}" if meta["step"] else f"epoch {meta['epoch']}"
    (line,) = [line for line in words(group, 0) if "--resume" in line]
    assert place in line
    assert words(group, 1) == []
