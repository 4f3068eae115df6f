"""docs/families.md says of each family what its parts promise, and runs as it stands."""

import json
import re
import runpy
from pathlib import Path

from flowkit import zoo

ROOT = Path(__file__).parents[2]
COMPARISON = runpy.run_path(str(ROOT / "benchmarks" / "measuring" / "comparison.py"))
PAGE = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
COMPARED = COMPARISON["with_variants"](zoo.VECTORS)
MEASURED = json.loads((ROOT / "benchmarks" / "families.json").read_text(encoding="utf-8"))


def test_its_table_is_what_the_specs_say_and_what_was_measured():
    table = COMPARISON["comparison"](COMPARED, MEASURED["microseconds"])
    assert table in PAGE, f"put this table into docs/families.md:\n{table}"


def test_every_family_that_is_compared_was_measured():
    assert MEASURED["microseconds"].keys() == COMPARED.keys()


def test_every_family_that_it_names_is_there():
    named = {word.split("(")[0] for word in re.findall(r"`([a-z_]+(?:\(\w+=[^`]*\))?)`", PAGE)}
    assert zoo.VECTORS.keys() <= named
