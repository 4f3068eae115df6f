"""The speed benchmark at its smallest: what it prints and writes, and whom it leaves out. No time is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowkit.engines import engine

ROOT = Path(__file__).parents[1]
SIZES = ["size=4", "levels=1", "steps=1", "layers=1", "width=4", "batch=2", "features=4", "bins=2"]
SMALLEST = ["--set", *SIZES, "many=3", "many_batch=2"]

pytestmark = pytest.mark.skipif(
    engine.name not in ("torch", "jax"), reason="the benchmark measures torch and JAX"
)


on_torch = pytest.mark.skipif(engine.name != "torch", reason="once is enough: nothing of it is the engine's")


def speed(tmp_path, *arguments, repeats=1):
    """(what is printed, what is written) by the benchmark on the engine of this session."""
    file, kept = tmp_path / "speed.json", tmp_path / "released.json"
    command = [sys.executable, ROOT / "benchmarks/speed.py", "--backend", engine.name, *arguments]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])  # `tmp_path` first, for packages made up there
    done = subprocess.run(
        [*command, *SMALLEST, "--repeats", str(repeats), "--released", kept, "--json", file],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text())


@pytest.mark.long
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
            "log_prob_many": 1,
            "sample_many": 1,
            **({"sample_checked": 1} if row["contender"] == "flowkit" else {}),
        }
        assert min(row["first_step"], row["process_peak"], *row["median"].values()) > 0
    floor, flowkit = comparison["rows"]
    assert flowkit["to_floor"]["train"] == flowkit["median"]["train"] / floor["median"]["train"]
    assert (
        flowkit["to_floor"]["sample_checked"]
        == flowkit["median"]["sample_checked"] / floor["median"]["sample"]
    )
    assert set(floor["to_floor"].values()) == set(flowkit["to_flowkit"].values()) == {1.0}
    deep = [(row["contender"], row["steps"]) for row in comparison["depths"]]
    assert deep == [("floor", 2), ("flowkit", 2)]
    assert written["machine"]["cores"] >= 1
    assert "| evaluation of 3 | sampling of 3 |" in printed
    lines = printed.splitlines()
    for name in ("floor", "flowkit"):  # in the comparison, and in first steps against depth
        assert sum(line.startswith(f"| {engine.name} | {name} |") for line in lines) == 2
    for head in (line for line in lines if line.startswith("| backend")):
        rule, *rows = lines[lines.index(head) + 1 : lines.index(head) + 4]
        assert {line.count("|") for line in (rule, *rows)} == {head.count("|")}
    assert written["machine"]["cpu"] in printed


@on_torch
@pytest.mark.long
def test_a_peer_that_is_missing_or_fails_is_named(tmp_path):
    (tmp_path / "zuko.py").write_text("raise ModuleNotFoundError(\"No module named 'zuko'\")")
    (tmp_path / "nflows.py").write_text("import os\nos._exit(3)")  # as a crash would
    printed, written = speed(tmp_path, "--preset", "vectors", "--contender", "zuko", "nflows")
    left = {row["contender"]: row.get("left_out") for row in written["comparisons"][0]["rows"]}
    assert left["zuko"].startswith("not installed")
    assert "- zuko on torch: not installed" in printed
    assert "- nflows on torch: ended with code 3" in printed
    assert left["flowkit"] is None  # the others are measured all the same
    assert "| torch | flowkit |" in printed
