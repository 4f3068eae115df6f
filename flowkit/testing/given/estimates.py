"""The mean of a log-det over its noise."""

import numpy as np

from flowkit.testing.given.example import ROWS
from flowkit.testing.given.noise import drawn, needs_of

DRAWS = 4096
"""How often one sample's log-det is drawn, all in one batch: its mean is then known to a 64th of its deviation."""

ERRORS = 5.0
"""By how many standard errors a mean may be off: a right one is once in two million, and has four more looks."""


def mean_log_det(trial, inverse, x):
    """(mean, standard error) of one direction's log-det over its noise, for each of ROWS samples of `x`."""
    needs = needs_of(trial.layer64, (None, *x.shape[1:]), inverse)
    if not needs:
        return trial.run64(x, inverse)[1], np.zeros(ROWS)
    rng = np.random.default_rng([trial.seed, 10, inverse, trial.draw])
    rows = np.tile(x, (DRAWS, *(1,) * (x.ndim - 1)))
    log_dets = trial.run64(rows, inverse, noise=drawn(needs, len(rows), rng))[1].reshape(DRAWS, ROWS)
    with np.errstate(invalid="ignore"):
        return log_dets.mean(axis=0), log_dets.std(axis=0, ddof=1) / np.sqrt(DRAWS)
