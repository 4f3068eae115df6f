"""docs/presets.md and docs/logging.md run as they stand, and say of trained flows what their runs have measured."""

import re
from pathlib import Path

import pytest

from flowkit import presets, zoo
from flowkit.presets.folder import FILES, read_preset
from flowkit.training.log import TARGETS

pytestmark = pytest.mark.one_engine

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["presets.md", "logging.md"])
def test_its_code_runs(name):
    page = (DOCS / name).read_text("utf-8")
    scope = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, name, "exec"), scope)
    written = {"presets.md": "folder/metadata.json", "logging.md": "log.folder/scalars.csv"}[name]
    variable, file = written.split("/")
    assert (Path(eval(variable, scope)) / file).is_file()


def test_the_table_of_trained_flows_is_what_their_runs_have_measured():
    rows = []
    for name in zoo.pretrained():
        preset = read_preset(presets.find_preset(name))
        measured, unit = preset.measured, "bits/dim"
        number = measured.get("test_bits_per_dim")
        if number is None:
            number, unit = measured["test_log_prob"], "nats"
        said = preset.metadata["description"].split(". ")[0].split(", trained")[0].rstrip(".")
        rows.append(f"| `{name}` | {said} | {number:.3f} +- {measured['test_standard_error']:.3f} {unit} |")
    table = "\n".join(rows)
    assert table in (DOCS / "presets.md").read_text("utf-8"), f"put these rows into docs/presets.md:\n{table}"


def test_every_target_and_every_file_has_its_place():
    page = (DOCS / "logging.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)) == set(TARGETS)
    page = (DOCS / "presets.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in FILES if "*" not in name)
