"""Test bits/dim of image families on Fashion-MNIST against processor seconds and against steps.

    KERAS_BACKEND=torch python benchmarks/images.py --seconds 120
    KERAS_BACKEND=torch python benchmarks/images.py glow/fashion-mnist maf_images/fashion-mnist --seconds 60

Each recipe trains in a process of its own for the given processor time of one thread, with its schedule stretched to as
many steps as fit. Warm-ups are short, and weights are not averaged. Test images are scored after each sixth of it,
outside of the measured time. Sampling is the processor time of 16 images, memory the largest resident size of the
process while it trained. Writes images.json and docs/images/image-families.png.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import keras

import flowkit  # before Keras, which chooses its backend on import
from flowkit.app.experiment import prepare
from flowkit.app.recipe import read_recipe
from flowkit.engines import engine

HERE = Path(__file__).parent
POINTS, TESTED, SAMPLED = 6, 250, 16
WARMUP = 20  # steps
NAMES = [
    "glow/fashion-mnist",
    "realnvp_images/fashion-mnist",
    "flow_pp/fashion-mnist",
    "jet/fashion-mnist",
    "tarflow/fashion-mnist",
    "maf_images/fashion-mnist",
]


class Curve(keras.callbacks.Callback):
    """Score test images at the end of each epoch; `seconds` are those of the training alone."""

    def __init__(self, images):
        super().__init__()
        self.images, self.points, self.seconds, self.steps = images, [], 0.0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.process_time()

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1

    def on_epoch_end(self, epoch, logs=None):
        self.seconds += time.process_time() - self.began
        self.points.append([self.seconds, self.steps, bits(self.model, self.images)])


def bits(flow, images):
    """Return the mean bits/dim of images."""
    return float(flow.bits_per_dim(images).mean())


def fit(name, epochs, epoch_steps, *more):
    """Train for so many epochs of so many steps, with `more` overrides; return the experiment and its curve."""
    overrides = [("training.epochs", epochs), ("training.epoch_steps", epoch_steps), *more]
    overrides += [("training.ema", 0), ("training.warmup_steps", WARMUP)]
    experiment = prepare(read_recipe(name, overrides))
    curve = Curve(experiment.test.images[:TESTED])
    experiment.flow.fit(experiment.batches, epochs=epochs, callbacks=[curve], verbose=0, shuffle=False)
    return experiment, curve


def measure(name, seconds):
    """Return the measurements of one recipe."""
    _, trial = fit(name, 2, 5)
    step = (trial.points[1][0] - trial.points[0][0]) / 5  # the first epoch compiles
    experiment, curve = fit(name, POINTS, max(1, round(seconds / step / POINTS)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.process_time()
    experiment.flow.sample(SAMPLED, seed=0, check=None)
    return {
        "name": name,
        "backend": f"{engine.name}, keras {keras.__version__}, flowkit {flowkit.__version__}",
        "parameters": experiment.flow.count_params(),
        "batch_size": experiment.recipe.training.batch_size,
        "curve": curve.points,
        "test_bits_per_dim": curve.points[-1][-1],
        "sampling_seconds": time.process_time() - began,
        "memory_mb": memory,
    }


def draw(rows, path):
    """Draw bits/dim against seconds and against steps, and bars of sampling and memory."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), width_ratios=[3, 3, 2, 2], layout="constrained")
    for column, label in enumerate(["processor seconds", "steps"]):
        for row in rows:
            x = [point[column] for point in row["curve"]]
            axes[column].plot(x, [point[2] for point in row["curve"]], label=row["name"].split("/")[0])
        axes[column].set(xlabel=label, ylabel="test bits/dim", ylim=(3, 8))
    axes[1].set_xscale("log")
    axes[1].legend(fontsize=8, loc="lower left")
    labels = [row["name"].split("/")[0] for row in rows]
    colors = [f"C{number}" for number in range(len(rows))]
    axes[2].barh(labels, [row["sampling_seconds"] for row in rows], color=colors)
    axes[2].set(xlabel=f"seconds to sample {SAMPLED}", xscale="log")
    axes[3].barh(labels, [row["memory_mb"] for row in rows], color=colors)
    axes[3].set(xlabel="memory, MB", yticks=[])
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--json", type=Path, default=HERE / "images.json")
    parser.add_argument("--picture", type=Path, default=HERE.parent / "docs/images/image-families.png")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the recipe of this process
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.seconds)))
        return
    rows = []
    for name in options.names:
        command = [sys.executable, __file__, "--one", name, "--seconds", str(options.seconds)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(json.loads(output.splitlines()[-1]))
        print(f"{name}: {rows[-1]['test_bits_per_dim']:.3f} bits/dim", flush=True)
        options.json.write_text(json.dumps({"seconds": options.seconds, "rows": rows}, indent=1) + "\n")
    draw(rows, options.picture)


if __name__ == "__main__":
    main()
