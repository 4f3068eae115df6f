"""Several tests at once."""

from typing import Any

import numpy as np


def holm(p: Any) -> np.ndarray:
    """Holm's step-down adjustment of the p-values of m tests, an array (m,).

    The i-th smallest, i from 0, becomes the largest of (m - j) p_(j) for j = 0..i, at most 1. If those that are below a
    level are called wrong, the chance to call any right one wrong is at most that level, however the tests depend on
    each other. Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, "float64")
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    answer = np.empty_like(p)
    answer[order] = np.minimum(adjusted, 1.0)
    return answer
