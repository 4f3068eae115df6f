"""The errors that a spec declares of its layer, and how far off an answer may be with them."""

import numpy as np


def declared(trial, x):
    """The round-trip error that the spec declares, in units of a float32's epsilon and of max(1, |x|).

    A solver stops at a tolerance that does not become finer with the precision it runs in, so the unit
    is that of the precision layers have by default.
    """
    with np.errstate(invalid="ignore"):  # nothing is allowed to an infinite answer
        return trial.spec.allowed_round_trip * _unit(trial) * np.maximum(1, np.abs(x))


def declared_log_det(trial, log_det, inverse):
    """The error of one direction's log-det that the spec declares, in units of epsilon and of max(1, |log_det|).

    What a spec does not declare is allowed to a direction that is solved alone.
    """
    solved = (trial.spec.inverse if inverse else trial.spec.forward) == "iterative"
    if not solved and trial.spec.log_det_error is None:
        return np.zeros_like(log_det)
    with np.errstate(invalid="ignore"):
        return trial.spec.allowed_log_det_error * _unit(trial) * np.maximum(1, np.abs(log_det))


def answer_error(trial, inverse):
    """The error of inverse(z), or of forward(x): rounding, and what the spec of one that is solved allows itself."""
    answer = trial.measured_in(inverse)
    if inverse or trial.spec.forward == "iterative":
        return answer.value_error + declared(trial, answer.value)
    return answer.value_error


def _unit(trial):
    return 2.0**-23 if trial.spec.solved else max(trial.eps, 2.0**-52)
