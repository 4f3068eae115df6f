"""log.csv: one row for each epoch, also when a run was stopped and resumed."""

import csv
import os
import time
import warnings
from pathlib import Path
from typing import Any

import keras
from keras import ops

from flowkit import distributed
from flowkit.contract.one_line import one_line
from flowkit.training.atomic import atomic_path
from flowkit.training.own_file import open_own


class CSVLog(keras.callbacks.Callback):
    """One row for each epoch: its number from 1, what was logged, learning rate and seconds.

    A row is on the disk before the epoch's checkpoint is written, when this callback is before
    `Resume` in the list; in a group of processes (`flowkit.distributed`) the main one writes. When training
    goes on from a checkpoint, rows of later epochs, and a row
    that was cut off, are dropped: the log is then that of a run that was never stopped.

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
        self._started = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._started:
            self._started = True
            if distributed.is_main():
                self._rewrite([row for row in read_log(self.path) if row["epoch"] <= epoch])
        self._clock = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not distributed.is_main():
            return
        row = {"epoch": epoch + 1, **(logs or {})}
        row.setdefault("learning_rate", _learning_rate(self.model.optimizer))
        row["seconds"] = round(self._seconds(), 3)
        known = self._columns()
        if known is None or set(row) - set(known):
            self._rewrite([*read_log(self.path), row])
            return
        with open_own(self.path, "a") as file:
            csv.DictWriter(file, known, lineterminator="\n").writerow(row)
            file.flush()
            os.fsync(file.fileno())

    def so_far(self) -> dict[str, Any]:
        """What it knows of an epoch that is not over, for `Resume`."""
        return {"seconds": self._seconds()}

    def go_on(self, known: dict[str, Any]) -> None:
        """Go on within the epoch in which `so_far` was asked."""
        self._clock -= known["seconds"]

    def _seconds(self):
        return time.monotonic() - self._clock

    def _columns(self):
        if not self.path.exists():
            return None
        with open(self.path, newline="", encoding="utf-8", errors="replace") as file:
            return _fields(file.readline())

    def _rewrite(self, rows):
        columns = list(dict.fromkeys(name for row in rows for name in row))
        if not rows:
            self.path.unlink(missing_ok=True)
            return
        with (
            atomic_path(self.path) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def read_log(path: str | Path) -> list[dict[str, float]]:
    """The rows of a log, name -> number, without a last one that was cut off by a kill.

    What is no row of a log is left out, with a warning that says how much of it there is.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    header, rows = _fields(lines[0]), []
    for line in lines[1:-1]:  # each ends in a newline, and what comes after the last one is no row yet
        row = _row(header, _fields(line))
        if row is not None:
            rows.append(row)
    no_header = "epoch" not in header and lines != [""]
    if missing := len(lines[1:-1]) - len(rows) + no_header:
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
    """The numbers of a row, or None if it is not one."""
    if len(fields) != len(header):
        return None
    try:
        row = {name: _number(text) for name, text in zip(header, fields, strict=True)}
    except ValueError:
        return None
    epoch = row.get("epoch")
    return row if isinstance(epoch, int) and epoch > 0 else None


def _number(text):
    """A number, or None for an empty cell. Raises a ValueError if it is neither."""
    if text == "":
        return None
    return int(text) if len(text) < 16 and text.isdecimal() else float(text)


def _learning_rate(optimizer):
    return float(ops.convert_to_numpy(optimizer.learning_rate))
