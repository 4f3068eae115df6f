"""docs/write-a-bijector.md runs as it stands, block after block."""

import re
import sys
import types
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "write-a-bijector.md"


def test_every_block_runs(tmp_path, capsys, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    module = types.ModuleType("tutorial")
    monkeypatch.setitem(sys.modules, "tutorial", module)  # torch.compile looks functions up by their module
    names = vars(module)
    names["path"] = tmp_path / "flow.keras"
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["caught"].clause == "log-det"
    assert names["caught"].example.event == (1,)
    printed = capsys.readouterr().out
    assert "broke 'log-det'" in printed
    assert "mixed precision" in printed  # the report's table
