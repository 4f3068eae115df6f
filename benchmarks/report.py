"""Write benchmarks/speed.md, the tables of the last release, after `make bench ARGS=--keep`."""

import json
from pathlib import Path

from measuring.table import comparison, heading, latency

FOLDER = Path(__file__).parent


def report(released):
    """Return the tables of benchmarks/released.json as Markdown."""
    parts = [
        "# Measured speed",
        "`benchmarks/report.py` writes this file from `released.json`, one run of `make bench ARGS=--keep`. "
        "`benchmarks/README.md` describes contenders and presets. Compare figures of one run only: machines differ "
        "by a factor of four from day to day, and their ratios by a fifth.",
        heading(released["machine"], [row for one in released["comparisons"] for row in one["rows"]]),
    ]
    for one in released["comparisons"]:
        parts += [f"## {one['preset']}", comparison(one["work"], one["rows"], one["repeats"])]
        if one.get("depths"):
            parts.append(latency(one["depths"]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    text = report(json.loads((FOLDER / "released.json").read_text(encoding="utf-8")))
    (FOLDER / "speed.md").write_text(text, encoding="utf-8")
