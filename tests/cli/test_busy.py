"""A hint where other work makes PyTorch's threads wait for each other."""

import os

import pytest

from flowkit import backends
from flowkit.cli.busy import note_busy_processors

pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize(
    ("load", "threads", "said"), [(3.0, None, True), (0.5, None, False), (3.0, "1", False)]
)
def test_it_is_said_for_torch_on_busy_processors(monkeypatch, capsys, load, threads, said):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(backends, "devices", lambda: ["cpu (2 threads)"])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    note_busy_processors()
    text = capsys.readouterr().err
    assert ("OMP_NUM_THREADS=1" in text) is (said and backends.name() == "torch")
