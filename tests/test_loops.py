"""The pages on loops of one's own run as they stand, each on its backend."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from flowkit.engines import engine

pytestmark = pytest.mark.two_engines

DOCS = Path(__file__).parents[1] / "docs"


def run(page, monkeypatch):
    """Return what the blocks of a page leave behind, by name."""
    monkeypatch.setenv("KERAS_BACKEND", engine.name)  # which the page sets, for the other tests
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    text = (DOCS / page).read_text("utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, page, "exec"), vars(module))
    return vars(module)


@pytest.mark.skipif(engine.name != "torch", reason="the page for PyTorch")
def test_the_loops_on_torch(monkeypatch):
    names = run("torch-loop.md", monkeypatch)
    assert names["nats"] < 2.4  # 2.14 at best; a normal of the same moments has 2.68
    assert float(names["loss"].detach()) == pytest.approx(-np.log(4 * np.pi), abs=0.2)  # -log Z


@pytest.mark.skipif(engine.name != "jax", reason="the page for JAX")
@pytest.mark.long
def test_the_loops_on_jax(monkeypatch):
    names = run("jax-loop.md", monkeypatch)
    assert names["nats"] < 2.4
    assert names["scores"].shape == (500, 2)
    assert names["losses"][0] < names["losses"][1:].min()  # the weights that were learned are better
    assert np.isfinite(names["value"])
