"""Whether a deep flow of heavy-tailed vectors stays finite: training, samples, and the way back of rows held out.

    python benchmarks/robust.py --family realnvp --layers 32 --steps 5000 --seeds 10
    python benchmarks/robust.py --family nsf --features 500 --layers 4 --steps 20 --batch 64 --seeds 1

Data are Student-t of 2 degrees of freedom in 19 dimensions, mixed by a random matrix, which other libraries' deep
affine couplings are known to leave for infinity. Prints a row for each seed, and keeps it in `--out`: what is there
already is not measured again.
"""

import argparse
import time
import warnings

import flowkit  # before Keras: it takes the engine from KERAS_BACKEND

# isort: split
import keras
import numpy as np
from measuring.records import Records

from flowkit.flow.round_trip import TOLERANCE

SIZES = ("family", "features", "layers", "width", "steps", "batch", "rate")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--family", choices=flowkit.zoo.VECTORS, default="realnvp")
    add("--features", type=int, default=19)
    add("--layers", type=int, default=32)
    add("--width", type=int, default=64)
    add("--steps", type=int, default=5000)
    add("--batch", type=int, default=256)
    add("--rate", type=float, default=1e-3)
    add("--seeds", type=int, default=10)
    add("--first-seed", type=int, default=0)
    add("--out", default="runs/robust.jsonl")
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in SIZES} | {"engine": keras.backend.backend()}
    records = Records(options.out, key=(*sizes, "seed"))
    columns = ["seed", "steps not finite", "last nll", "held-out nll", "samples not finite"]
    print("| " + " | ".join([*columns, "rows lost", "largest round trip error", "seconds"]) + " |")
    print("| --- |" + " --- |" * (len(columns) + 2))
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        if records.find(seed=seed, **sizes) is None:
            records.add(seed=seed, **sizes, **measured(seed, options))
        print(in_words(records.find(seed=seed, **sizes)), flush=True)


def measured(seed, options):
    start = time.process_time()
    x = heavy_tailed(50_000, options.features, seed)
    held_out = heavy_tailed(5_000, options.features, seed, stream=1)
    keras.utils.set_random_seed(seed)
    hidden = (options.width, options.width)
    flow = flowkit.zoo.VECTORS[options.family](layers=options.layers, hidden=hidden)
    flow.compile(keras.optimizers.Adam(options.rate))
    losses = Losses()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = np.random.default_rng(seed).integers(0, len(x), (options.steps * options.batch,))
        flow.adapt(x)
        flow.fit(x[rows], batch_size=options.batch, shuffle=False, verbose=0, callbacks=[losses])
        score = flow.log_prob(held_out)
        samples = flow.sample(10_000, seed=seed, check=None)
        error = flow.round_trip_error(held_out)
    return {
        "bad_steps": int(losses.bad),
        "last": float(losses.last),
        "held_out": float(-score.mean()),
        "bad_samples": int((~np.isfinite(samples).all(axis=1)).sum()),
        "lost": int((~(error <= TOLERANCE)).sum()),
        "error": float(error.max()),
        "seconds": time.process_time() - start,
    }


def in_words(row):
    return (
        f"| {row['seed']} | {row['bad_steps']} | {row['last']:.3f} | {row['held_out']:.3f} | {row['bad_samples']} "
        f"| {row['lost']} | {row['error']:.1e} | {row['seconds']:.0f} |"
    )


def heavy_tailed(count, features, seed, stream=0):
    """Student-t rows, mixed; the same matrix for both streams of a seed."""
    matrix = np.random.default_rng([seed, 7]).normal(size=(features, features)) / np.sqrt(features)
    rng = np.random.default_rng([seed, stream])
    return (rng.standard_t(2.0, (count, features)) @ matrix).astype("float32")


class Losses(keras.callbacks.Callback):
    """The running mean of the loss is finite as long as each step's loss is: the first that is not stays."""

    bad, last = 0, np.nan

    def on_train_batch_end(self, batch, logs=None):
        self.last = logs["loss"]
        self.bad += not np.isfinite(self.last)


if __name__ == "__main__":
    main()
