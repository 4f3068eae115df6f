"""docs/objectives.md runs as it stands, block after block."""

import re
import sys
import types
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "objectives.md"


def test_every_block_runs(monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    module = types.ModuleType("objectives_page")
    monkeypatch.setitem(sys.modules, "objectives_page", module)
    names = vars(module)
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks) == 3
    assert names["effective"] > 0.9
    assert names["history"].history.keys() == {"loss"}
