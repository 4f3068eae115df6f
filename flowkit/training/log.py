"""log.csv: one row for each epoch, also when a run was stopped and resumed."""

import csv
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from flowkit import distributed
from flowkit.contract.configured import one_line
from flowkit.training.atomic import atomic_path


class CSVLog(keras.callbacks.Callback):
    """One row for each epoch: its number from 1, what was logged, learning rate and seconds.

    The file is replaced as a whole, before the epoch's checkpoint is written if this callback is before `Resume` in
    the list; in a group of processes (`flowkit.distributed`) the main one writes. When training goes on from a
    checkpoint, rows of later epochs are removed: the log is then that of a run that was never stopped.

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
        self._rows: list[Mapping[str, Any]] | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._rows is None:
            self._rows = [row for row in read_log(self.path) if row["epoch"] <= epoch]
        self._clock = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row = {"epoch": epoch + 1, **(logs or {})}
        row.setdefault("learning_rate", learning_rate(self.model))
        self._rows.append(row | {"seconds": round(self._seconds(), 3)})
        if distributed.is_main():
            write_rows(self.path, self._rows)

    def so_far(self) -> dict[str, Any]:
        """Return what it knows of an epoch that is not over, for `Resume`."""
        return {"seconds": self._seconds()}

    def go_on(self, known: dict[str, Any]) -> None:
        """Go on within the epoch of `so_far`."""
        self._clock -= known["seconds"]

    def _seconds(self):
        return time.monotonic() - self._clock


def learning_rate(model: keras.Model) -> float:
    """Return the current learning rate of a model's optimizer."""
    return float(ops.convert_to_numpy(model.optimizer.learning_rate))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows to a log in a single step."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


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
