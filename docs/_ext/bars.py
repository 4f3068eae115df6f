"""Replace `{bars} FILE TASK` on a page by a bar chart of one task in a file of benchmarks/speed.py.

A bar is the time of a flow in units of its networks alone.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BARS = re.compile(r"^```\{bars\} (\S+) (\w+)\n```$", re.MULTILINE)
_LIBRARIES = ("flowkit", "nflows", "normflows", "zuko", "flowjax", "distrax")
_FLOWS = {"small": "Glow", "vectors": "Affine couplings", "splines": "Spline couplings", "maf": "MAF"}
_BACKENDS = {"torch": "PyTorch", "jax": "JAX"}
_TASKS = {"train": "a training step", "log_prob": "evaluation", "sample": "sampling"}
_LEFT, _WIDTH, _LINE, _HEAD, _NUMBER = 90, 640, 18, 26, 40  # of the chart, in pixels


def chart(released, task):
    """Return the chart as SVG, in the colours of the page."""
    parts, y = [], 0
    longest = max(ratio for _, rows in _groups(released, task) for _, ratio in rows)
    for title, rows in _groups(released, task):
        parts.append(f'<text x="0" y="{y + 18}" class="title">{title}</text>')
        y += _HEAD
        for name, ratio in rows:
            width = (_WIDTH - _LEFT - _NUMBER) * ratio / longest
            kind = "ours" if name == "flowkit" else "other"
            parts.append(
                f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{name}</text>'
                f'<rect x="{_LEFT}" y="{y + 2}" width="{width:.1f}" height="{_LINE - 5}" rx="2" class="{kind}"/>'
                f'<text x="{_LEFT + width + 6:.1f}" y="{y + 12}">{ratio:.2f}</text>'
            )
            y += _LINE
        y += 6
    about = released["machine"]
    note = f"{about['date']}, {about['cpu']}, {about['cores']} cores: {_TASKS[task]} in units of the networks alone"
    return (
        f'<svg class="bars" viewBox="0 0 {_WIDTH} {y}" role="img" aria-label="{note}">{"".join(parts)}</svg>\n'
        f"<p class=bars>{note}. Shorter is faster.</p>"
    )


def _groups(released, task):
    """Yield the title and (library, ratio) of each flow on each backend."""
    for one in released["comparisons"]:
        for engine, backend in _BACKENDS.items():
            rows = [
                (row["contender"], row["to_floor"][task])
                for row in one["rows"]
                if row["engine"] == engine and row["contender"] in _LIBRARIES and "left_out" not in row
            ]
            if len(rows) > 1 and one["preset"] in _FLOWS:
                yield f"{_FLOWS[one['preset']]} on {backend}", rows


def expand(app, page, source):
    def drawn(found):
        released = json.loads((ROOT / found[1]).read_text(encoding="utf-8"))
        return f"```{{raw}} html\n{chart(released, found[2])}\n```"

    source[0] = _BARS.sub(drawn, source[0])


def setup(app):
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
