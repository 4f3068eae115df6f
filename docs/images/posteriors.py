"""Draw docs/images/posteriors.png with the code of docs/posteriors.md, trained for longer.

    python docs/images/posteriors.py [simulations] [epochs]

Write the numbers that the page quotes to docs/images/posteriors.json.
"""

import json
import re
import sys
import time
from pathlib import Path

import flowkit  # before Keras, which chooses its backend on import

# isort: split
import keras
import numpy as np
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent
AS_ON_THE_PAGE = '"simulations": 10_000, "epochs": 15'


def run_page(simulations, epochs):
    """Run the blocks up to the calibration and return their names."""
    keras.utils.set_random_seed(0)
    page = (FOLDER.parent / "posteriors.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)[:5]
    assert AS_ON_THE_PAGE in blocks[0]
    blocks[0] = blocks[0].replace(AS_ON_THE_PAGE, f'"simulations": {simulations}, "epochs": {epochs}')
    names = {}
    for block in blocks:
        start = time.perf_counter()
        exec(compile(block, "posteriors.md", "exec"), names)
        print(f"{time.perf_counter() - start:6.1f} s", flush=True)
    return names


def ellipse(mean, covariance, level):
    """Return the contour that contains `level` of a normal density of two numbers, (200, 2)."""
    angles = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return mean + np.sqrt(-2 * np.log(1 - level)) * circle @ np.linalg.cholesky(covariance).T


def draw(names):
    line_ranks = flowkit.evaluation.ranks(
        names["posterior"].flow, names["true"], names["seen"], draws=100, seed=0
    )
    line_chance = flowkit.evaluation.uniformity(line_ranks, draws=100)
    report(names, line_chance)
    figure = Figure((12, 3.8), layout="constrained")
    known, unknown, calibration = figure.subplots(1, 3)

    known.scatter(*names["draws"].T, s=3, alpha=0.4, linewidths=0, label="draws of the flow")
    for level in (0.5, 0.95):
        outline = ellipse(names["exact_mean"](names["observed"]), names["covariance"], level)
        known.plot(
            *outline.T, color="black", linewidth=1, label="exact, 50 % and 95 %" if level < 0.9 else None
        )
    known.scatter(0.5, -1.0, marker="+", color="red", zorder=3, label="the truth")
    known.set(title="A line: one posterior", xlabel="height", ylabel="slope")

    before = names["ricker_prior"](1000)
    after = names["ricker_posterior"].sample(1000, names["ricker_seen"][0], seed=0)
    unknown.scatter(*before[:, [0, 2]].T, s=3, alpha=0.3, linewidths=0, color="gray", label="prior")
    unknown.scatter(*after[:, [0, 2]].T, s=3, alpha=0.4, linewidths=0, label="draws of the flow")
    unknown.scatter(*names["ricker_true"][0, [0, 2]], marker="+", color="red", zorder=3, label="the truth")
    unknown.set(title="Ricker's model: one posterior", xlabel="log r", ylabel="log phi")

    u, lower, upper = names["u"], names["lower"], names["upper"]
    calibration.fill_between(u, lower - u, upper - u, color="gray", alpha=0.3, label="95 % band")
    shares = [("height", line_ranks[:, 0]), ("slope", line_ranks[:, 1])]
    shares += [(f"log {name}", names["found"][:, i]) for i, name in enumerate(("r", "sigma", "phi"))]
    for name, found in shares:
        share = (found[:, None] <= np.arange(101)).mean(axis=0)
        calibration.plot(u, share - u, linewidth=1, label=name)
    calibration.set(title="Ranks, 1,000 pairs each", xlabel="u", ylabel="share of ranks - u")
    for axes in (known, unknown, calibration):
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    figure.savefig(FOLDER / "posteriors.png", dpi=80, metadata={"Software": None})


def report(names, line_chance):
    """Print what was measured, and write it to a file, which tests/test_numbers.py compares with the page."""
    lost, exact = names["lost"], names["exact_mean"](names["observed"])
    measured = {
        "backend": keras.backend.backend(),
        "line": {
            "lost": float(lost.mean()),
            "standard_error": float(lost.std() / np.sqrt(len(lost))),
            "mean": names["draws"].mean(axis=0).tolist(),
            "exact_mean": exact.tolist(),
            "deviation": names["draws"].std(axis=0).tolist(),
            "exact_deviation": np.sqrt(np.diag(names["covariance"])).tolist(),
            "uniformity": np.asarray(line_chance).tolist(),
        },
        "ricker": {
            "learned": float(names["learned"]),
            "uniformity": np.asarray(names["chance"]).tolist(),
        },
        **names["training"],
    }
    text = json.dumps(measured, indent=1)
    print(text)
    (FOLDER / "posteriors.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[1:]] or [100_000, 6]
    draw(run_page(*sizes))
