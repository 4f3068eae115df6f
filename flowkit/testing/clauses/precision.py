"""Flow maths stays in full precision under a mixed policy."""

import keras
import numpy as np

from flowkit.contract.precision import rounding_unit
from flowkit.testing.clauses.clause import clause
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
        z, log_det = trial.call32(trial.x, trial.context, layer=layer)
        if subject.no_inverse is None:
            x, back = trial.call32(z, trial.context, inverse=True, layer=layer)
    finally:
        keras.config.set_dtype_policy(before)
    answers = {"z": z, "log_det": log_det}
    if subject.no_inverse is None:
        answers |= {"x": x, "inverse log_det": back}
    for name, value in answers.items():
        if value.dtype.name not in ("float32", "float64"):
            raise Broken(f"{name} of at least float32 under mixed_bfloat16", value.dtype.name)
    if subject.no_inverse is not None:
        return
    there, again = trial.there, trial.there_and_back
    grow = rounding_unit("float32") / trial.eps
    allowed = ROUNDINGS * grow * (again.value_error + again.value_spread) + trial.declared(trial.x)
    error = ROUNDINGS * grow * there.value_error
    known = trial.resolved(z.astype("float64"), error, trial.spec.codomain)
    judge(
        trial.x,
        x.astype("float64"),
        allowed,
        what="x after a round trip in mixed precision",
        where=trial.x,
        among=known,
    )
    known &= np.isfinite(log_det)
    allowed = ROUNDINGS * grow * (there.log_det_error + again.log_det_error + again.log_det_spread)
    judge(
        -log_det.astype("float64"),
        back.astype("float64"),
        allowed,
        what="inverse log_det",
        where=trial.x,
        among=known,
    )
