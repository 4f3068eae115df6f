"""Flow maths stays in full precision under a mixed policy."""

import keras
import numpy as np

from flowkit.contract.precision import rounding_unit
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.declared import declared
from flowkit.testing.given.leading import recovering, tied
from flowkit.testing.given.tolerances import ROUNDINGS
from flowkit.testing.verdicts.broken import Broken, judge


@clause(
    "mixed precision",
    'under "mixed_bfloat16" the log-det and the maths stay in float32, and the round trip holds',
    hint="Leave dtype to the base class; cast what a low-precision network answers to self.compute_dtype.",
    per="once",
)
def mixed_precision(trial):
    subject = trial.subject
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = subject.make("mixed_bfloat16")
        subject.build(layer, trial.event)
        layer.set_weights([v.numpy() for v in trial.layer32.weights])
        answers = _answers(trial, layer)
    finally:
        keras.config.set_dtype_policy(before)
    for name, value in answers.items():
        if value.dtype.name not in ("float32", "float64"):
            raise Broken(f"{name} of at least float32 under mixed_bfloat16", value.dtype.name)
    first = recovering(subject)
    if first is not None and len(trial.directions) == 2:
        _comes_back(trial, first, layer)


def _answers(trial, layer):
    """What both directions give, by name."""
    answers = {}
    for inverse, points in trial.directions:
        value, log_det = trial.call32(points, trial.context, inverse, layer=layer)
        answers |= {"x": value, "inverse log_det": log_det} if inverse else {"z": value, "log_det": log_det}
    return answers


def _comes_back(trial, inverse, layer):
    """Compare the points with what has come back, and the log-dets of the way with those of the way back."""
    points, name = trial.points(inverse), "z" if inverse else "x"
    value, log_det = trial.call32(points, trial.context, inverse, layer=layer)
    back, log_det_back = trial.call32(value, trial.context, not inverse, layer=layer)
    there, again = trial.measured_in(inverse), trial.measured_after(inverse)
    grow = rounding_unit("float32") / trial.eps
    allowed = ROUNDINGS * grow * (again.value_error + again.value_spread) + declared(trial, points)
    error = ROUNDINGS * grow * there.value_error
    known = trial.resolved(value.astype("float64"), error, trial.domain(not inverse))
    judge(
        points,
        back.astype("float64"),
        allowed,
        what=f"{name} after a round trip in mixed precision",
        where=points,
        among=known,
    )
    if tied(trial.subject) != inverse and trial.spec.likelihood != "exact":
        return
    known &= np.isfinite(log_det)
    allowed = ROUNDINGS * grow * (there.log_det_error + again.log_det_error + again.log_det_spread)
    judge(
        -log_det.astype("float64"),
        log_det_back.astype("float64"),
        allowed,
        what=f"{'forward' if inverse else 'inverse'} log_det",
        where=points,
        among=known,
    )
