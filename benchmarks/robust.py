"""Whether a deep flow of heavy-tailed vectors stays finite: training, samples, and the way back of rows held out.

    python benchmarks/robust.py --family realnvp --layers 32 --steps 5000 --seeds 10

Data are Student-t of 2 degrees of freedom in 19 dimensions, mixed by a random matrix, which other libraries' deep
affine couplings are known to leave for infinity. Prints a row for each seed.
"""

import argparse
import warnings

import keras
import numpy as np

import flowkit


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
    options = parser.parse_args()
    print(
        "| seed | steps not finite | last nll | held-out nll | samples not finite | largest round trip error |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        print(row(seed, options), flush=True)


def row(seed, options):
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
    lost = int((~np.isfinite(samples).all(axis=1)).sum())
    return f"| {seed} | {losses.bad} | {losses.last:.3f} | {-score.mean():.3f} | {lost} | {error.max():.1e} |"


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
