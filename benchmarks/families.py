"""How long a density and a sample of each family of vectors take: benchmarks/families.json, a part of docs/families.md.

    python benchmarks/families.py                       # some minutes of one core
    python benchmarks/families.py --family nsf maf --turns 3 --out /tmp/some.json

Each family is made as it comes, for 16 features, and trained for some steps, since what is solved takes longer where a
map bends more. Then in turns 1,000 rows are scored and 1,000 drawn, without the look at their way back. What counts is
the median of the turns' processor seconds, on one thread: other work on the machine is not in it.
"""

import argparse
import json
import os
import statistics
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import flowkit  # before Keras: it takes the engine from KERAS_BACKEND

# isort: split
import keras
import numpy as np
from measuring.comparison import with_variants
from measuring.machine import machine

from flowkit.engines import engine

COMPARED = with_variants(flowkit.zoo.VECTORS)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--family", nargs="+", choices=COMPARED, default=list(COMPARED), metavar="NAME")
    add("--features", type=int, default=16)
    add("--rows", type=int, default=1000)
    add("--steps", type=int, default=50)
    add("--turns", type=int, default=5)
    add("--out", default=os.path.join(os.path.dirname(__file__), "families.json"))
    options = parser.parse_args()
    asked = {}
    for name in options.family:
        asked[name] = calls(trained(name, options), data(name, options, seed=1), options)
        print(name, flush=True)
    times = {name: {direction: [] for direction in both} for name, both in asked.items()}
    for turn in range(options.turns + 1):
        for name, both in asked.items():
            for direction, call in both.items():
                start = time.process_time()
                call()
                if turn:  # the first compiles
                    times[name][direction].append(time.process_time() - start)
    told = {
        "machine": machine(),
        "engine": f"{keras.backend.backend()} {engine.version()}",
        "flowkit": flowkit.__version__,
        **{name: getattr(options, name) for name in ("features", "rows", "steps", "turns")},
        "microseconds": {
            name: {
                direction: 1e6 * statistics.median(all_) / options.rows for direction, all_ in both.items()
            }
            for name, both in times.items()
        },
    }
    with open(options.out, "w") as file:
        json.dump(told, file, indent=2)
        file.write("\n")
    print(json.dumps(told["microseconds"], indent=2))


def calls(flow, x, options):
    return {
        "density": lambda: flow.log_prob(x),
        "sample": lambda: flow.sample(options.rows, seed=0, check=None),
    }


def trained(name, options):
    keras.utils.set_random_seed(0)
    flow = COMPARED[name](features=options.features)
    flow.compile(keras.optimizers.Adam(1e-3, global_clipnorm=5.0))
    x = data(name, options, seed=0)
    flow.adapt(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = np.random.default_rng(0).integers(0, len(x), options.steps * 256)
        flow.fit(x[rows], batch_size=256, shuffle=False, verbose=0)
    return flow


def data(name, options, seed):
    """Rows that no normal fits: skewed, mixed by a matrix; or angles."""
    rng = np.random.default_rng([seed, 5])
    mix = np.random.default_rng(5).normal(size=(options.features, options.features)) / options.features**0.5
    x = np.exp(0.5 * rng.normal(size=(options.rows, options.features))) @ mix
    return (np.pi * np.tanh(x) if name == "circular_nsf" else x).astype("float32")


if __name__ == "__main__":
    main()
