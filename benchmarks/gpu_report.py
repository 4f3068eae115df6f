"""What benchmarks/gpu.sh has measured, as one Markdown report: python benchmarks/gpu_report.py FOLDER [--card TEXT]

Reads FOLDER/*.json (of speed.py) and FOLDER/glow-*/metrics.json (of trained runs). Every figure that was asked for has
its place in the report; if it was not measured, it says so, and why if that is known.
"""

import argparse
import json
from pathlib import Path

from card import Card, read_cards
from measuring.work import step_flops

MISSING = "not measured"
PRESETS = ("small", "paper", "64")
PRECISIONS = ("float32", "tf32", "bfloat16")
CONTENDERS = [(name, engine) for engine in ("torch", "jax") for name in ("flowkit", "flowkit reversible")]


def read_speed(folder):
    """(preset, precision, contender, engine) -> (work, row), of all that speed.py has written."""
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        for comparison in json.loads(path.read_text())["comparisons"]:
            work = comparison["work"]
            for row in comparison["rows"]:
                key = comparison["preset"], work["precision"], row["contender"], row["engine"]
                found[key] = work, row
    return found


def figures(work, row, card):
    """The cells of one row: images/s, TFLOP/s with its share of the peak, construction, compiling, peak memory."""
    step, reason = row.get("median", {}).get("train"), row.get("left_out")
    if card and row.get("device") == "cpu":
        step, reason = None, "it ran on the CPU"
    if step is None:
        return [f"{MISSING} ({reason})" if reason else MISSING] + [MISSING] * 4
    peak = card and card.peak(work["precision"])
    speed = step_flops(work) / step / 1e12
    share = f" ({100 * speed / peak:.1f} % of {peak:g})" if peak else " (peak unknown)"
    compiling = row["first_step"] - row["construction"] - step
    memory = f"{row['device_peak'] / 1e9:.2f} GB" if row.get("device_peak") else MISSING
    return [
        f"{work['batch'] / step:.1f}",
        f"{speed:.3g}{share}",
        f"{row['construction']:.1f} s",
        f"{max(compiling, 0):.1f} s",
        memory,
    ]


def speed_table(measured, card):
    lines = [
        "| preset | precision | backend | | images/s | TFLOP/s (of the peak) | construction | compiling | "
        "peak memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for preset in PRESETS:
        for precision in PRECISIONS:
            for contender, engine in CONTENDERS:
                work, row = measured.get((preset, precision, contender, engine), ({}, {}))
                cells = figures(work, row, card)
                lines.append(f"| {preset} | {precision} | {engine} | {contender} | {' | '.join(cells)} |")
    return "\n".join(lines)


def training_table(folder):
    lines = [
        "| backend | device | images/s | first step | seconds in all | test bits/dim |",
        "|---|---|---|---|---|---|",
    ]
    for engine in ("torch", "jax"):
        path = Path(folder) / f"glow-{engine}" / "metrics.json"
        facts = json.loads(path.read_text()) if path.exists() else {}
        wanted = ("devices", "images_per_second", "first_step_seconds", "seconds", "test_bits_per_dim")
        cells = [MISSING if facts.get(name) is None else str(facts[name]) for name in wanted]
        lines.append(f"| {engine} | {' | '.join(cells)} |")
    return "\n".join(lines)


def report(folder, card=None):
    """All of it; `card` is a `Card`, or None if there is none."""
    where = f"{card.name}, {card.memory}, driver {card.driver}" if card else "no NVIDIA card"
    return "\n\n".join(
        [
            f"# On {where}",
            "Training steps of Glow. TFLOP/s count the model's own operations once, even if they are computed twice "
            "(measuring/work.py: step_flops). Compiling is the first training step less a later one.",
            speed_table(read_speed(folder), card),
            "`flowkit train glow/fashion-mnist`, from start to end:",
            training_table(folder),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--card", help="a file with nvidia-smi's answer (card.py: QUERY)")
    options = parser.parse_args()
    card: Card | None = read_cards(Path(options.card).read_text())[0] if options.card else None
    print(report(options.folder, card))


if __name__ == "__main__":
    main()
