"""A context is used if the spec says so, in both directions alike."""

import numpy as np

from flowkit.contract import ContractError
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.tolerances import ROUNDINGS
from flowkit.testing.verdicts.broken import Broken, unlike


@clause(
    "context",
    "a required context is asked for, a context that is read changes the answer, one that is not is harmless",
    hint="Hand the context to every part that reads it, in both hooks; set spec.context.",
    per="event",
)
def context(trial):
    if trial.spec.context == "none":
        return _harmless(trial)
    if trial.spec.context == "required":
        _asked_for(trial)
    _used(trial)


def _harmless(trial):
    extra = np.random.default_rng(0).normal(size=(len(trial.x), 2))
    for inverse, points in trial.directions:
        for without, given in zip(
            trial.call32(points, None, inverse), trial.call32(points, extra, inverse), strict=True
        ):
            if not np.array_equal(without, given, equal_nan=True):
                raise Broken(
                    'no difference from a context, as spec.context is "none"', unlike(without, given, points)
                )


def _asked_for(trial):
    for inverse, points in trial.directions:
        try:
            trial.call32(points, None, inverse)
        except ContractError:
            continue
        raise Broken("a ContractError if the required context is missing", "an answer")


def _used(trial):
    subject = trial.subject
    one = subject.context(trial.event, 1, len(trial.x))
    changed = {inverse: 0.0 for inverse, _ in trial.directions}
    for seed in (3, 5, 7, 9):
        other = subject.context(trial.event, seed, len(trial.x))
        for inverse, points in trial.directions:
            measured = trial.measured_in(inverse)
            here, there = trial.run64(points, inverse, one), trial.run64(points, inverse, other)
            for a, b, error in zip(here, there, (measured.value_error, measured.log_det_error), strict=True):
                with np.errstate(invalid="ignore"):
                    signal = np.abs(a - b) / (2 * ROUNDINGS * error + 1e-300)
                changed[inverse] = max(changed[inverse], float(np.nan_to_num(signal).max()))
    for inverse, signal in changed.items():
        if signal <= 1:
            side = "inverse" if inverse else "forward"
            raise Broken(
                f'an answer of {side} that depends on the context, as spec.context is "{trial.spec.context}"',
                "none that does",
            )
