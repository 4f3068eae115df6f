"""A note says that training is on CPU, and a GPU was looked for."""

import pytest

from flowkit.app.backend import note_missed_gpu
from flowkit.engines import engine


@pytest.mark.parametrize(
    ("build", "devices", "hidden", "said"),
    [
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
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    note_missed_gpu()
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
