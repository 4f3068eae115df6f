"""The benchmarks at their smallest: contenders that are measured, contenders that are left out, operations."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flowkit import zoo
from flowkit.engines import engine

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(engine.name != "torch", reason="once is enough: nothing of it is the engine's"),
]

ROOT = Path(__file__).parents[1]
SIZES = ["size=4", "levels=1", "steps=1", "layers=1", "width=4", "batch=2", "features=4", "bins=2"]
SIZES += ["many=3", "many_batch=2"]


def speed(tmp_path, *arguments):
    """Return (what the benchmark prints, what it writes)."""
    file, kept = tmp_path / "speed.json", tmp_path / "released.json"
    command = [sys.executable, ROOT / "benchmarks/speed.py", "--backend", engine.name, *arguments]
    command += ["--set", *SIZES, "--repeats", "1", "--released", kept, "--json", file]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])  # `tmp_path` first, for packages made up there
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text())


def test_speed_is_compared_with_the_floor(tmp_path):
    printed, written = speed(tmp_path, "--preset", "small", "--contender", "floor", "--depths", "2")
    (comparison,) = written["comparisons"]
    floor, flowkit = comparison["rows"]
    for row in (floor, flowkit):
        assert min(row["first_step"], row["process_peak"], *row["median"].values()) > 0
        assert f"| {engine.name} | {row['contender']} |" in printed
    assert flowkit["to_floor"]["train"] == flowkit["median"]["train"] / floor["median"]["train"]
    assert [(row["contender"], row["steps"]) for row in comparison["depths"]] == [
        ("floor", 2),
        ("flowkit", 2),
    ]


def test_a_peer_that_is_missing_or_fails_is_named(tmp_path):
    (tmp_path / "zuko.py").write_text("raise ModuleNotFoundError(\"No module named 'zuko'\")")
    (tmp_path / "nflows.py").write_text("import os\nos._exit(3)")  # as a crash would
    printed, written = speed(tmp_path, "--preset", "vectors", "--contender", "zuko", "nflows")
    left = {row["contender"]: row.get("left_out") for row in written["comparisons"][0]["rows"]}
    assert left["flowkit"] is None  # it is measured all the same
    assert "- zuko on torch: not installed" in printed
    assert "- nflows on torch: ended with code 3" in printed


def test_operations_are_those_that_torch_counts(monkeypatch):
    from torch.utils.flop_counter import FlopCounterMode

    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from measuring.work import images, step_flops

    flow = zoo.glow(levels=2, steps=4, width=64, n_bits=None, input_shape=(16, 16, 3))
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    flow.adapt(x)
    with FlopCounterMode(display=False) as counter:
        flow.log_prob(x)
    # The priors, and what is computed of weights alone, are left out: little, and less in larger models.
    assert 1 < 3 * counter.get_total_flops() / step_flops(images(16, 2, 4, 64, 4)) < 1.1
