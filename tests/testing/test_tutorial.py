"""The pages on writing parts run as they stand, block after block."""

import re
import sys
import types
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_engine

DOCS = Path(__file__).parents[2] / "docs"


def run(page, monkeypatch, **given):
    """What the blocks of a page leave behind, by name."""
    page = DOCS / page
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    module = types.ModuleType("tutorial")
    monkeypatch.setitem(sys.modules, "tutorial", module)  # torch.compile looks functions up by their module
    names = vars(module)
    names |= given
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    return names


def test_write_a_bijector(tmp_path, capsys, monkeypatch):
    names = run("write-a-bijector.md", monkeypatch, path=tmp_path / "flow.keras")
    assert names["caught"].clause == "log-det"
    assert names["caught"].example.event == (1,)
    printed = capsys.readouterr().out
    assert "broke 'log-det'" in printed
    assert "mixed precision" in printed  # the report's table


def test_write_other_parts(monkeypatch):
    names = run("extend.md", monkeypatch)
    assert names["samples"].shape == (1000, 1)
