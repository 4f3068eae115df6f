"""Alarms: which rows of a table are unusual, at a rate of false alarms, and in which columns."""

import functools
import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import narwhals as nw
import numpy as np

from flowkit.contract.arguments import Between0And1, Count, checked
from flowkit.data.entries import absent_of
from flowkit.data.frame import is_frame
from flowkit.flow.rows import likelihoods, noise_of_rows
from flowkit.tables.conditionals import conditional
from flowkit.tables.expectation import entry_in_words, expected
from flowkit.tables.pyod_detector import PyODDetector

if TYPE_CHECKING:
    from flowkit.tables.table_flow import TableFlow

_ROWS = 256  # of codes, that are explained at a time


class Line(NamedTuple):
    """A line of `Detector.explain`."""

    row: Any
    column: str
    value: str
    log_prob: float
    surprise: float
    expected: str


class Detector:
    """Alarms for unusual rows of a table, few of them false: what `TableFlow.detector` returns.

    Called on a frame, it returns a frame of the same library and index:

    - `score`: -log p(row) in nats, infinite for an impossible row. Where `log_prob` is a bound it is that of `samples`
      draws of noise, the same draws for all rows, so that the same row has the same score, but for rounding.
    - `p_value`: (1 + rows of the calibration with this score or a higher one) / (1 + all of its n rows). Of a new row
      like those it is uniform, whatever the flow: P(p_value <= a) <= a, with equality for a = k / (n + 1) and no ties
      (split-conformal). The least is 1 / (n + 1).
    - `is_outlier`: True if p_value <= `false_alarms`.

    `calibration` are rows as those to come, that the flow was not trained on; for 1 % of false alarms at least 99.
    Rows trained on have lower scores, so that there would be more false alarms.

    Raises TypeError for what is no frame, and ValueError for too few rows. Vovk, Gammerman & Shafer, Algorithmic
    Learning in a Random World (2005); Bates, Candes, Lei, Romano & Sesia, Testing for Outliers with Conformal p-values
    (2023).

    >>> import flowkit, pandas  # doctest: +SKIP
    >>> rows = pandas.DataFrame({"size": [1, 3, 2] * 50, "kind": ["b", "a", "b"] * 50})  # doctest: +SKIP
    >>> flow = flowkit.fit_table(rows[:100], layers=2, epochs=2, verbose=0)  # doctest: +SKIP
    >>> detector = flow.detector(rows[100:], false_alarms=0.05)  # doctest: +SKIP
    >>> detector(rows[:2]).columns.tolist()  # doctest: +SKIP
    ['score', 'p_value', 'is_outlier']
    """

    @checked
    def __init__(
        self,
        flow: "TableFlow",
        calibration: Any,
        *,
        false_alarms: Between0And1 = 0.01,
        samples: Count = 8,
    ) -> None:
        self.flow, self.false_alarms = flow, false_alarms
        shape = (1, len(flow.columns.names))
        draws = [noise_of_rows(flow, shape, 0, inverse=False, draw=draw) for draw in range(samples)]
        self._noise = draws[:1] if draws[0] is None else draws
        _require_frame("calibration", calibration)
        need = math.ceil(1 / false_alarms - 1e-9) - 1
        if len(calibration) < need:
            raise ValueError(
                f"detector: got {len(calibration)} rows of calibration, expected at least {need} for "
                f"false_alarms={false_alarms:g}. Pass more rows, or false_alarms={1 / (len(calibration) + 1):.2g}."
            )
        scores, wrong = self._scored(calibration)
        if len(wrong) > false_alarms * len(scores):
            warnings.warn(
                f"detector: {len(wrong):,} of {len(scores):,} rows of calibration are impossible, so that such rows "
                f"are no alarms, the first: got {wrong[min(wrong)]}.",
                stacklevel=3,
            )
        self.scores = np.sort(scores)
        # An outlier has a score above that of the k-th highest row, k = false_alarms (n + 1).
        self.threshold = float(self.scores[-math.floor(false_alarms * (len(scores) + 1) + 1e-9)])

    def __repr__(self) -> str:
        return f"Detector({self.flow}, false_alarms={self.false_alarms:g}, {len(self.scores):,} rows of calibration)"

    def __call__(self, rows: Any) -> Any:
        """Return a frame of the score, the p-value and the alarm of each row of a frame."""
        score, _ = self._scored(rows)
        found = {"score": score, "p_value": self._p_values(score), "is_outlier": score > self.threshold}
        frame = nw.from_dict(found, backend=nw.get_native_namespace(rows)).to_native()
        index = nw.maybe_get_index(nw.from_native(rows, eager_only=True))
        return frame if index is None else frame.set_axis(index)

    def _scored(self, rows):
        """Return (scores of the rows of a frame, {row: a wrong entry, in words} of impossible ones)."""
        _require_frame("detector", rows)
        log_prob, wrong = self.flow.scored(*self.flow.split(rows), density=self._log_prob)
        return -log_prob.astype("float64"), wrong

    def _p_values(self, scores):
        higher = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        return (1 + higher) / (1 + len(self.scores))

    def _log_prob(self, codes, context):
        """Return log p of codes, of the draws of noise together, which are the same for all rows."""
        found = [
            self.flow.log_prob_of_codes(
                codes, context, noise if noise is None else np.repeat(noise, len(codes), 0)
            )
            for noise in self._noise
        ]
        if len(found) == 1:
            return found[0]
        if any("estimated" in word for word in likelihoods(self.flow)):
            return np.mean(found, axis=0)
        return np.logaddexp.reduce(found) - math.log(len(found))

    # Columns

    def explain(self, rows: Any) -> Any:
        """Return a frame with a line for each column of each row, the most surprising first: which columns are unusual.

        - `row`: the row's label in the index, or its number. `column`, `value`: its entry, in words.
        - `log_prob`: log p(entry | the other entries of the row), by the flow's density over values of the column.
        - `surprise`: the average of log p(other entry | the other entries of the row) - `log_prob`, in nats: of a
          normal column (z^2 - 1) / 2. Unlike `log_prob` it does not depend on the unit of the column.
        - `expected`: what 98 % of the rows have that are like this one in all other columns, in words.

        A row with an entry that is impossible has lines for such entries alone, with -inf. A constant column has none.
        Each column of a row takes up to a hundred evaluations of the density for each draw of noise; of a row with
        unseen categories as many for each combination of seen ones in their place.
        """
        _require_frame("explain", rows)
        index = nw.maybe_get_index(nw.from_native(rows, eager_only=True))
        own, context = self.flow.split(rows)
        lines = _impossible(self.flow.columns, own) + _impossible(self.flow.context_columns, context)
        right = np.setdiff1d(np.arange(len(rows)), [line.row for line in lines])
        codes, completed = self.flow.columns.coded(own)[0], self.flow.columns.completed(own)
        several = {row: completed[row][0] if row in completed else codes[[row]] for row in right.tolist()}
        lines += [line for block in _blocks(several) for line in self._explained(own, context, block)]
        lines.sort(key=lambda line: (line.row, -line.surprise))
        found: dict[str, list[Any]] = {name: [getattr(line, name) for line in lines] for name in Line._fields}
        if index is not None:
            found["row"] = [index[row] for row in found["row"]]
        return nw.from_dict(found, backend=nw.get_native_namespace(rows)).to_native()

    def _explained(self, own, context, several):
        """Return the lines of some possible rows of a frame: {number: codes, several of one with unseen categories}."""
        columns, lines, rows = self.flow.columns, [], np.array(list(several))
        sizes = np.array([len(each) for each in several.values()])
        its = None if context is None else self.flow.context_columns.coded(context)[0][np.repeat(rows, sizes)]
        parts = np.concatenate(list(several.values()))
        kinds = zip(columns.names, columns.types, columns.in_order(own), strict=True)
        for place, (name, kind, series) in enumerate(kinds):
            if getattr(kind, "count", 2) == 1:  # a constant
                continue
            starts = np.cumsum(sizes) - sizes
            found = conditional(
                kind, parts[starts, place], functools.partial(self._log_prob_with, parts, its, sizes, place)
            )
            log_prob, surprise = _with_unseen(found, np.isinf(kind.codes(series))[rows])
            entries, absent = series.to_list(), absent_of(series)
            for number, row in enumerate(rows.tolist()):
                value, words = (
                    entry_in_words(entries[row], absent[row]),
                    expected(found, number, columns.library or "polars"),
                )
                lines.append(
                    Line(row, str(name), value, float(log_prob[number]), float(surprise[number]), words)
                )
        return lines

    def _log_prob_with(self, codes, context, sizes, place, values):
        """Return log p of rows with values, (rows, k), in place of a column; a row is the sum of `sizes` of codes."""
        count = values.shape[1]
        tried = np.repeat(codes, count, axis=0)
        tried[:, place] = np.repeat(values, sizes, axis=0).reshape(-1)
        found = self._log_prob(tried, None if context is None else np.repeat(context, count, axis=0))
        return np.logaddexp.reduceat(found.reshape(-1, count), np.cumsum(sizes) - sizes, axis=0)

    def as_pyod(self) -> PyODDetector:
        """Return the detector with the methods and attributes of PyOD's, for code that takes those."""
        return PyODDetector(self)


def _blocks(several):
    """Yield parts of {row: codes} with at most _ROWS rows of codes, or a single row."""
    block, count = {}, 0
    for row, codes in several.items():
        if block and count + len(codes) > _ROWS:
            yield block
            block, count = {}, 0
        block[row] = codes
        count += len(codes)
    if block:
        yield block


def _with_unseen(found, new):
    """Return (log p, surprise) of entries, some of them `new` categories, which have the share of unseen ones."""
    share = getattr(found.kind, "unseen", 0.0)
    if not share:
        return found.own, found.surprise
    average = found.surprise + found.own + math.log1p(-share)
    log_prob = np.where(new, math.log(share), found.own + math.log1p(-share))
    return log_prob, (1 - share) * average + share * math.log(share) - log_prob


def _impossible(columns, frame):
    """Return the lines of entries that the types of columns exclude."""
    if columns is None:
        return []
    lines = []
    for name, kind, series in zip(columns.names, columns.types, columns.in_order(frame), strict=True):
        absent = absent_of(series)
        unknown = np.isinf(kind.codes(series)) & (getattr(kind, "unseen", 0.0) == 0)
        for row in np.flatnonzero(unknown | (absent & (not kind.missing))).tolist():
            words = "no missing entry, as in training" if absent[row] else kind.expected
            value = entry_in_words(series.to_list()[row], absent[row])
            lines.append(Line(row, str(name), value, -math.inf, math.inf, f"expected {words}"))
    return lines


def _require_frame(what, rows):
    if not is_frame(rows):
        raise TypeError(f"{what}: got {type(rows).__name__}, expected a pandas or polars DataFrame.")
