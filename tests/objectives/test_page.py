"""docs/objectives.md runs as it stands, block after block; what it says of two moons holds."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from keras import ops

pytestmark = pytest.mark.one_engine

PAGE = Path(__file__).parents[2] / "docs" / "objectives.md"


def run(monkeypatch, chosen):
    """What the names of the chosen blocks are, once they have run."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    module = types.ModuleType("objectives_page")
    monkeypatch.setitem(sys.modules, "objectives_page", module)
    for block in filter(chosen, blocks):
        exec(compile(block, str(PAGE), "exec"), vars(module))
    return vars(module)


def test_every_block_runs(monkeypatch):
    names = run(monkeypatch, lambda block: "two_moons" not in block)
    assert names["report"].effective_sample_size > 1800
    assert names["history"].history.keys() == {"loss"}


@pytest.mark.long
def test_two_moons_are_both_found(monkeypatch):
    """Of a flow that has lost one of them the weights would not add up to the integral, but to half of it."""
    names = run(monkeypatch, lambda block: "two_moons" in block)
    flow, log_density = names["moons"], names["two_moons"]
    x, log_q = flow.draw(10_000, seed=1)
    log_weights = ops.convert_to_numpy(ops.stop_gradient(log_density(x) - log_q)).astype("float64")
    weights = np.exp(log_weights)
    assert weights.sum() ** 2 / (weights**2).sum() / len(weights) > 0.9
    edge = np.linspace(-6, 6, 601, dtype="float32")
    grid = np.stack(np.meshgrid(edge, edge), axis=-1).reshape(-1, 2)
    integral = np.exp(ops.convert_to_numpy(log_density(ops.convert_to_tensor(grid)))).sum() * 0.02**2
    assert abs(weights.mean() / integral - 1) < 0.05
