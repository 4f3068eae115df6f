"""A detector of unusual rows with the methods and attributes of PyOD's."""

from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from flowkit.data.frame import is_frame

if TYPE_CHECKING:
    from flowkit.tables.detector import Detector


class PyODDetector:
    """A `Detector` as PyOD's detectors are: what `Detector.as_pyod` returns. PyOD need not be installed.

    Methods take frames, or arrays (rows, columns) in the order of the flow's columns. It is fitted: `decision_scores_`
    and `labels_` are those of the calibration, and scores above `threshold_` are outliers.

    Zhao, Nasrullah & Li, PyOD: A Python Toolbox for Scalable Outlier Detection (2019).

    >>> import flowkit, pandas  # doctest: +SKIP
    >>> rows = pandas.DataFrame({"size": [1, 3, 2] * 50, "kind": ["b", "a", "b"] * 50})  # doctest: +SKIP
    >>> flow = flowkit.fit_table(rows[:100], layers=2, epochs=2, verbose=0)  # doctest: +SKIP
    >>> flow.detector(rows[100:], false_alarms=0.05).as_pyod().predict(rows[:2]).shape  # doctest: +SKIP
    (2,)
    """

    def __init__(self, detector: "Detector") -> None:
        self.detector, self.contamination = detector, detector.false_alarms
        self.decision_scores_, self.threshold_ = detector.scores, detector.threshold
        self.labels_ = self._labels(detector.scores)

    def __repr__(self) -> str:
        return f"PyODDetector({self.detector})"

    def _labels(self, scores):
        return (scores > self.threshold_).astype(int)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the score of each row, higher for more unusual ones."""
        if not is_frame(X):
            columns, given = self.detector.flow.columns, self.detector.flow.context_columns
            names = [*columns.names, *([] if given is None else given.names)]
            X = np.asarray(X)
            if X.ndim != 2 or X.shape[1] != len(names):
                raise ValueError(
                    f"detector: got an array of shape {X.shape}, expected (rows, {len(names)}), the columns "
                    f"{', '.join(map(str, names))} in this order."
                )
            parts = dict(zip(names, X.T, strict=True))
            library: Any = columns.library or "pandas"
            X = nw.from_dict(parts, backend=library).to_native()
        return np.asarray(self.detector(X)["score"])

    def predict(self, X: Any) -> np.ndarray:
        """Return 1 for outliers and 0 for other rows."""
        return self._labels(self.decision_function(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return (rows, 2), 1 - q and q, the place of a score in the range of the calibration's: PyOD's "linear"."""
        finite = self.decision_scores_[np.isfinite(self.decision_scores_)]
        low, high = finite.min(), finite.max()
        place = np.clip((self.decision_function(X) - low) / max(high - low, 1e-12), 0, 1)
        return np.stack([1 - place, place], axis=1)
