"""Test bits/dim of a small Glow by what permutes its channels, after equally many steps.

    KERAS_BACKEND=torch OMP_NUM_THREADS=1 python benchmarks/permutations.py --steps 100

The recipe glow/fashion-mnist with another `permutation`, its schedule shortened to so many steps, without averaged
weights; one seed. Prints the table of zoo/glow/README.md and writes permutations.json.
"""

import argparse
import json
import math
from pathlib import Path

import images

from flowkit.engines import engine

HERE = Path(__file__).parent
NAMES = ["shuffle", "conv1x1", "emerging", "periodic"]


def measure(name, steps):
    """Return the measurements of one permutation."""
    experiment, curve = images.fit("glow/fashion-mnist", 1, steps, ("model.permutation", name))
    flow, test = experiment.flow, experiment.test.images[:1000]
    scores = flow.bits_per_dim(test)
    return {
        "permutation": name,
        "parameters": sum(math.prod(weight.shape) for weight in flow.trainable_weights),
        "bits_per_dim": float(scores.mean()),
        "standard_error": float(scores.std(ddof=1) / len(scores) ** 0.5),
        "seconds": curve.seconds,
        "backend": engine.name,
    }


def as_markdown(measured):
    """Return the table of measurements."""
    lines = [
        "| permutation | test bits/dim | parameters | processor seconds |",
        "|---|---|---|---|",
    ]
    for row in measured["rows"]:
        score = f"{row['bits_per_dim']:.3f} +- {row['standard_error']:.3f}"
        lines.append(f"| {row['permutation']} | {score} | {row['parameters']:,} | {row['seconds']:.0f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", type=Path, default=HERE / "permutations.json")
    options = parser.parse_args()
    measured = {"steps": options.steps, "rows": []}
    for name in options.names:
        measured["rows"].append(measure(name, options.steps))
        options.json.write_text(json.dumps(measured, indent=1) + "\n")
        print(measured["rows"][-1], flush=True)
    print(as_markdown(measured))


if __name__ == "__main__":
    main()
