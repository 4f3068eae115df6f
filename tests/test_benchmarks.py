"""The speed benchmark at its smallest: what it prints and writes, and whom it leaves out. No time is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowkit import backends

ROOT = Path(__file__).parents[1]
SMALLEST = ["--set", "size=4", "levels=1", "steps=1", "layers=1", "width=4", "batch=2", "--repeats", "1"]

pytestmark = pytest.mark.skipif(
    backends.name() not in ("torch", "jax"), reason="the benchmark measures torch and JAX"
)


def speed(tmp_path, *arguments):
    """(what is printed, what is written) by the benchmark on the engine of this session."""
    file = tmp_path / "speed.json"
    command = [sys.executable, ROOT / "benchmarks/speed.py", "--engine", backends.name(), *arguments]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])  # `tmp_path` first, for packages made up there
    done = subprocess.run(
        [*command, *SMALLEST, "--json", file],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text())


def test_it_compares_flowkit_with_the_floor(tmp_path):
    printed, written = speed(tmp_path, "--preset", "small", "--contender", "floor", "--depths", "2")
    (comparison,) = written["comparisons"]
    assert [row["contender"] for row in comparison["rows"]] == ["floor", "flowkit"]
    for row in comparison["rows"]:
        assert "left_out" not in row, row["left_out"]
        assert {task: len(times) for task, times in row["times"].items()} == {
            "train": 1,
            "log_prob": 1,
            "sample": 1,
        }
        assert min(row["first_step"], row["process_peak"], *row["median"].values()) > 0
    floor, flowkit = comparison["rows"]
    assert flowkit["to_floor"]["train"] == flowkit["median"]["train"] / floor["median"]["train"]
    assert set(floor["to_floor"].values()) == set(flowkit["to_flowkit"].values()) == {1.0}
    deep = [(row["contender"], row["steps"]) for row in comparison["depths"]]
    assert deep == [("floor", 2), ("flowkit", 2)]
    assert written["machine"]["cores"] >= 1
    lines = printed.splitlines()
    for name in ("floor", "flowkit"):  # in the comparison, and in first steps against depth
        assert sum(line.startswith(f"| {backends.name()} | {name} |") for line in lines) == 2
    for head in (line for line in lines if line.startswith("| engine")):
        rule, *rows = lines[lines.index(head) + 1 : lines.index(head) + 4]
        assert {line.count("|") for line in (rule, *rows)} == {head.count("|")}
    assert written["machine"]["cpu"] in printed


def test_a_peer_that_is_missing_or_fails_is_named(tmp_path):
    package = {"torch": "zuko", "jax": "distrax"}[backends.name()]
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{package}'\")")
    printed, written = speed(tmp_path, "--preset", "vectors", "--contender", package)
    (row,) = [row for row in written["comparisons"][0]["rows"] if row["contender"] == package]
    assert row["left_out"].startswith("not installed")
    assert f"- {package} on {backends.name()}: not installed" in printed

    (tmp_path / f"{package}.py").write_text("import os\nos._exit(3)")  # as a crash would
    printed, _ = speed(tmp_path, "--preset", "vectors", "--contender", package)
    assert f"- {package} on {backends.name()}: ended with code 3" in printed
    assert f"| {backends.name()} | flowkit |" in printed  # the others are measured all the same
