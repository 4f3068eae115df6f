"""What is told of the scores of many rows."""

import math

import numpy as np


def mean_and_error(scores):
    """The mean over rows, and its standard error s / sqrt(n)."""
    with np.errstate(invalid="ignore"):  # of what is not finite, which the caller tells
        error = scores.std(ddof=1) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan
        return float(scores.mean()), float(error)
