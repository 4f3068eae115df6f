"""Hints of the processors: other work makes PyTorch's threads wait for each other, and a GPU is not found."""

import os

import pytest

from flowkit.app.engine import note_slow_engine
from flowkit.engines import engine

pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize(
    ("load", "threads", "said"), [(3.0, None, True), (0.5, None, False), (3.0, "1", False)]
)
def test_it_is_said_for_torch_on_busy_processors(monkeypatch, capsys, load, threads, said):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(engine, "devices", lambda: ["cpu (2 threads)"])
    monkeypatch.setattr(engine, "gpu_build", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    note_slow_engine()
    text = capsys.readouterr().err
    assert ("OMP_NUM_THREADS=1" in text) is (said and engine.name == "torch")


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("build", "devices", "hidden", "said"),
    [
        ("CUDA 12.6", ["cpu (2 threads)"], None, True),
        ("CUDA 12.6", ["cpu (2 threads)"], "0,1", True),
        ("CUDA 12.6", ["cpu (2 threads)"], "", False),
        ("CUDA 12.6", ["cuda:0 (a card)", "cpu (2 threads)"], None, False),
        (None, ["cpu (2 threads)"], None, False),
    ],
)
def test_it_is_said_that_training_is_on_cpu_where_a_card_was_looked_for(
    monkeypatch, capsys, build, devices, hidden, said
):
    monkeypatch.setattr(engine, "gpu_build", lambda: build)
    monkeypatch.setattr(engine, "devices", lambda: devices)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    note_slow_engine()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == said
    assert all(f"training is on CPU: {engine.name}" in line and build in line for line in lines)


@pytest.mark.skipif(engine.name != "torch", reason="PyTorch's builds")
@pytest.mark.parametrize(
    ("cuda", "hip", "told"), [("12.6", None, "CUDA 12.6"), (None, "6.2", "ROCm 6.2"), (None, None, None)]
)
def test_a_build_for_gpus_says_for_which(monkeypatch, cuda, hip, told):
    import torch

    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    assert engine.gpu_build() == told
