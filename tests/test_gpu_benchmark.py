"""What `benchmarks/gpu.sh` does before it measures, what it counts, and what it says of that which was not measured."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flowkit import zoo
from flowkit.engines import engine

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[1]
H100 = "NVIDIA H100 80GB HBM3, 580.95.05, 81559 MiB\n"

on_torch = pytest.mark.skipif(engine.name != "torch", reason="once is enough: nothing of it is the engine's")


@pytest.fixture
def card(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return __import__("card")


@pytest.fixture
def with_nvidia_smi(tmp_path, monkeypatch):
    """Let nvidia-smi print this, and end with that code."""

    def put(text, code=0):
        script = tmp_path / "nvidia-smi"
        script.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {code}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return put


@on_torch
def test_a_driver_that_is_too_old_is_named_with_the_one_that_is_needed(card):
    old, new = (card.Card("NVIDIA L4", driver, "23034 MiB") for driver in ("535.183.01", "580.65.06"))
    (complaint,) = card.complaints(old, {"torch": 13, "jax": 12})
    assert "torch brings CUDA 13, which needs NVIDIA's driver 580 or newer; here is 535.183.01" in complaint
    (complaint,) = card.complaints(new, {"torch": 13, "jax": None})
    assert complaint.startswith("jax is installed without CUDA: pip install -r backends/jax/")
    assert list(card.complaints(new, {"torch": 13, "jax": 13})) == []


@on_torch
@pytest.mark.parametrize(
    ("answer", "code", "line"),
    [
        ("NVIDIA-SMI has failed\n", 9, "no NVIDIA card: NVIDIA-SMI has failed"),
        (H100.replace("580", "470"), 0, "card.py: "),
    ],
)
def test_the_script_stops_before_it_measures(with_nvidia_smi, tmp_path, answer, code, line):
    with_nvidia_smi(answer, code)
    out = tmp_path / "out"
    done = subprocess.run(
        [ROOT / "benchmarks/gpu.sh", out],
        env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert line in done.stderr
    assert done.stderr.endswith("Nothing is measured.\n")
    assert "Traceback" not in done.stderr
    assert not out.exists()


@on_torch
def test_operations_are_those_that_torch_counts(card):
    from measuring.work import images, step_flops
    from torch.utils.flop_counter import FlopCounterMode

    work = images(16, 2, 4, 64, 4)
    flow = zoo.glow(levels=2, steps=4, width=64, n_bits=None, input_shape=(16, 16, 3))
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    flow.adapt(x)
    with FlopCounterMode(display=False) as counter:
        flow.log_prob(x)
    # The priors, and what is computed of weights alone, are left out: little, and less in larger models.
    assert 1 < 3 * counter.get_total_flops() / step_flops(work) < 1.1
