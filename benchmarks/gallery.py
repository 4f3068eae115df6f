"""Every family of vectors on four densities of the plane, as one picture: docs/images/gallery.png.

    python benchmarks/gallery.py --steps 2000              # fits what is not fitted yet, then draws
    python benchmarks/gallery.py --steps 2000 --draw       # draws what there is

A row for each family, a column for each density; the first row shows the data. Below each picture stands the mean
log-density of rows held out, in nats. Prints the same as a Markdown table. Each fit is kept as a file in `--fits`, so
that the run may be killed at any moment.
"""

import argparse
import io
import itertools
import os
import time
from pathlib import Path

import flowkit  # before Keras: it takes the engine from KERAS_BACKEND

# isort: split
import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

SIDE = 4.0  # pictures are of [-SIDE, SIDE]^2
SIZES = {  # beside the families' own defaults, which are for more features than two
    "nsf": {"layers": 6, "hidden": (64, 64)},
    "nsf_autoregressive": {"layers": 3, "hidden": (64, 64)},
    "realnvp": {"layers": 8, "hidden": (64, 64)},
    "nice": {"layers": 8, "hidden": (64, 64), "linear": "lu"},
    "maf": {"layers": 6, "hidden": (64, 64)},
    "naf": {"layers": 3, "hidden": (64, 64)},
    "bnaf": {"layers": 3},
    "umnn": {"layers": 3, "hidden": (64, 64)},
    "bernstein": {"layers": 3, "hidden": (64, 64)},
    "sos": {"layers": 3, "hidden": (64, 64)},
    "residual": {"layers": 12, "hidden": (64, 64)},
    "planar": {"layers": 32},
    "radial": {"layers": 32},
    "sylvester": {"layers": 16},
}
LEFT_OUT = {
    "iaf": "is for reverse KL: densities of data take a pass for each feature",
    "circular_nsf": "is for angles",
}


def two_moons(n, rng):
    angle, second = np.pi * rng.random(n), rng.random(n) < 0.5
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x[second] = np.array([1.0, 0.5]) - x[second]
    return 1.6 * (x - np.array([0.5, 0.25])) + rng.normal(0, 0.12, (n, 2))


def checkerboard(n, rng):
    column, row = rng.integers(0, 4, n), 2 * rng.integers(0, 2, n)
    corner = np.stack([column, row + column % 2], axis=1)
    return 1.6 * (corner + rng.random((n, 2)) - 2.0)


def eight_gaussians(n, rng):
    angle = np.pi / 4 * rng.integers(0, 8, n)
    return 2.6 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, 0.25, (n, 2))


def spirals(n, rng):
    angle = 3 * np.pi * np.sqrt(rng.random(n))
    arm = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    x = arm[:, None] * (angle / 3)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return 1.05 * x + rng.normal(0, 0.1, (n, 2))


DENSITIES = {
    "two moons": two_moons,
    "checkerboard": checkerboard,
    "eight Gaussians": eight_gaussians,
    "two spirals": spirals,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    known = [name for name in flowkit.zoo.VECTORS if name not in LEFT_OUT]
    add = parser.add_argument
    add("--steps", type=int, default=2000)
    add("--family", nargs="+", choices=known, default=known, metavar="NAME")
    add("--fits", type=Path, default="runs/gallery")
    add("--draw", action="store_true")
    add("--out", default="docs/images/gallery.png")
    options = parser.parse_args()
    options.fits.mkdir(parents=True, exist_ok=True)
    if not options.draw:
        for family, name in itertools.product(options.family, DENSITIES):
            path = place(options, family, name)
            if not path.exists():
                save(path, **fit_and_score(family, DENSITIES[name], options.steps))
                print(path, flush=True)
    families = [
        family
        for family in options.family
        if any(place(options, family, name).exists() for name in DENSITIES)
    ]
    print(as_markdown(options, families))
    panels = [[histogram(draw(20_000, np.random.default_rng(0))) for draw in DENSITIES.values()]]
    panels += [[found(options, family, name) for name in DENSITIES] for family in families]
    draw_picture(panels, ["data", *families], options.out)


def place(options, family, name):
    return options.fits / f"{family}-{name.replace(' ', '-')}-{options.steps}.npz"


def save(path, **arrays):
    """In a single step."""
    temporary = path.with_suffix(".partial.npz")
    np.savez_compressed(temporary, **arrays)
    os.replace(temporary, path)


def found(options, family, name):
    """The fit, a dict; without one nothing but an empty picture."""
    path = place(options, family, name)
    if not path.exists():
        return {"values": np.zeros((2, 2))}
    with np.load(path) as file:
        return dict(file)


def as_markdown(options, families):
    lines = [
        "| family | " + " | ".join(DENSITIES) + " | seconds |",
        "| --- |" + " --- |" * (len(DENSITIES) + 1),
    ]
    for family in families:
        fits = [found(options, family, name) for name in DENSITIES]
        cells = [f"{fit['score']:.2f}" if "score" in fit else "-" for fit in fits]
        seconds = sum(float(fit.get("seconds", 0)) for fit in fits)
        lines.append(f"| `{family}` | {' | '.join(cells)} | {seconds:.0f} |")
    return "\n".join(lines)


def fit_and_score(family, draw, steps):
    x, held_out = (draw(count, np.random.default_rng(seed)) for seed, count in enumerate((20_000, 5_000)))
    start = time.process_time()
    flow = fitted(family, x, steps)
    score = flow.log_prob(held_out.astype("float32")).mean()
    return {"score": score, "values": density(flow), "seconds": time.process_time() - start}


def fitted(family, x, steps):
    keras.utils.set_random_seed(0)
    flow = flowkit.zoo.VECTORS[family](features=2, **SIZES.get(family, {}))
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    flow.compile(keras.optimizers.Adam(rate, clipnorm=10.0))
    rows = np.random.default_rng(2).integers(0, len(x), steps * 256)
    flow.adapt(x)
    flow.fit(x[rows].astype("float32"), batch_size=256, shuffle=False, verbose=0)
    return flow


def density(flow, size=120):
    side = np.linspace(-SIDE, SIDE, size)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype("float32")
    return np.exp(flow.log_prob(grid)).reshape(size, size)


def histogram(x, size=120):
    ends = np.linspace(-SIDE, SIDE, size + 1)
    return {"values": np.histogram2d(x[:, 1], x[:, 0], bins=(ends, ends))[0]}


def draw_picture(panels, names, path):
    rows, columns = len(panels), len(DENSITIES)
    figure = Figure(figsize=(1.6 * columns + 1.0, 1.75 * rows), dpi=70)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for line, row, name in zip(axes, panels, names, strict=False):
        for axis, fit in zip(line, row, strict=True):
            most = np.quantile(fit["values"], 0.995)
            axis.imshow(fit["values"], origin="lower", cmap="magma", vmin=0, vmax=most)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_xlabel(f"{fit['score']:.2f} nats" if "score" in fit else "", fontsize=8)
        line[0].set_ylabel(name, fontsize=8)
    for axis, title in zip(axes[0], DENSITIES, strict=True):
        axis.set_title(title, fontsize=9)
    figure.tight_layout(pad=0.4)
    drawn = io.BytesIO()
    figure.savefig(drawn)
    # 128 colours tell all that the eye does, in a third of the bytes.
    Image.open(drawn).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
