"""log.csv: one row for each epoch, also when a run was stopped and resumed."""

import csv
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
from keras import ops

from flowkit import distributed
from flowkit.contract.one_line import one_line
from flowkit.training.atomic import atomic_path, open_own


class CSVLog(keras.callbacks.Callback):
    """One row for each epoch: its number from 1, what was logged, learning rate and seconds.

    A row is on the disk before the epoch's checkpoint is written, if this callback is before `Resume` in the list; in a
    group of processes (`flowkit.distributed`) the main one writes. When training goes on from a checkpoint, rows of
    later epochs and an incomplete row are removed: the log is then that of a run that was never stopped.

    >>> import tempfile, flowkit, numpy as np
    >>> path = tempfile.mkdtemp() + "/log.csv"
    >>> flow = flowkit.Flow(flowkit.bijectors.ActNorm())
    >>> flow.compile("adam")
    >>> history = flow.fit(np.eye(64, 2), epochs=2, verbose=0, callbacks=[CSVLog(path)])
    >>> [int(row["epoch"]) for row in read_log(path)]
    [1, 2]
    """

    __repr__ = one_line

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._columns: list[str] | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._columns is None and distributed.is_main():
            self._rewrite([row for row in read_log(self.path) if row["epoch"] <= epoch])
        self._clock = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not distributed.is_main():
            return
        row = {"epoch": epoch + 1, **(logs or {})}
        row.setdefault("learning_rate", learning_rate(self.model))
        row["seconds"] = round(self._seconds(), 3)
        if row.keys() - set(self._columns or ()):
            self._rewrite([*read_log(self.path), row])
            return
        with open_own(self.path, "a") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
            file.flush()
            os.fsync(file.fileno())

    def so_far(self) -> dict[str, Any]:
        """Return what it knows of an epoch that is not over, for `Resume`."""
        return {"seconds": self._seconds()}

    def go_on(self, known: dict[str, Any]) -> None:
        """Go on within the epoch of `so_far`."""
        self._clock -= known["seconds"]

    def _seconds(self):
        return time.monotonic() - self._clock

    def _rewrite(self, rows):
        self._columns = write_rows(self.path, rows)


def learning_rate(model: keras.Model) -> float:
    """Return the current learning rate of a model's optimizer."""
    return float(ops.convert_to_numpy(model.optimizer.learning_rate))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Write rows to a log in a single step, remove the file if there are none, and return the columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        path.unlink(missing_ok=True)
        return []
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return columns


def read_log(path: str | Path) -> list[dict[str, float]]:
    """Return the rows of a log as dicts of numbers, without an incomplete last row.

    Lines that are no rows are left out, with a warning that counts them.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    header = _fields(lines[0])
    whole = lines[1:-1]  # each ends in a newline
    rows = [row for row in (_row(header, _fields(line)) for line in whole) if row is not None]
    missing = len(whole) - len(rows) + ("epoch" not in header and lines != [""])
    if missing:
        warnings.warn(
            f"{path}: {missing} of its lines cannot be read and are left out, which leaves a gap in the curve and "
            "harms nothing else; put a copy of the file back to have them",
            stacklevel=2,
        )
    return rows


def _fields(line):
    try:
        return next(csv.reader([line]), [])
    except csv.Error:  # such as a field of 200 kB
        return []


def _row(header, fields):
    """Return the numbers of a row, None for an empty cell; None if it is no row."""
    try:
        row = {name: _number(text) for name, text in zip(header, fields, strict=True)}
    except ValueError:
        return None
    epoch = row.get("epoch")
    return row if isinstance(epoch, int) and epoch > 0 else None


def _number(text):
    if text == "":
        return None
    return int(text) if len(text) < 16 and text.isdecimal() else float(text)
