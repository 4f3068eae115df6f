"""Compiled and eager agree."""

import numpy as np
from keras import ops

from flowkit import backends
from flowkit.contract.precision import rounding_unit
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.functions import direction
from flowkit.testing.given.tolerances import ROUNDINGS
from flowkit.testing.verdicts import traced
from flowkit.testing.verdicts.broken import Broken, Undecided, judge


@clause(
    "compiled",
    "compiled by the engine (jax.jit, torch.compile, tf.function with XLA), both directions answer as they do eagerly",
    hint="A Python `if` on a tensor's value, numpy on a tensor, or an op that XLA lacks is in the way.",
    per="once",
)
def compiled(trial):
    judged = False
    for inverse, points in trial.directions:
        side = "inverse" if inverse else "forward"
        eager = trial.call32(points, trial.context, inverse)
        answer = _compiled(trial, points, inverse, side)
        measured = trial.measured_in(inverse)
        grow = rounding_unit("float32") / trial.unit_of(inverse)
        errors = measured.value_error * grow, measured.log_det_error * grow
        for name, a, b, error in zip(("output", "log_det"), eager, answer, errors, strict=True):
            a, b = a.astype("float64"), b.astype("float64")
            good = np.isfinite(a).reshape(len(a), -1).all(axis=1)
            if good.any():
                judged = True
                allowed = np.minimum(2 * ROUNDINGS * error, np.maximum(1, np.abs(a)) / 32)
                judge(a, b, allowed, what=f"eager {name} of {side}", where=points, among=good)
    if not judged:
        raise Undecided("no answer is finite")


def _compiled(trial, points, inverse, side):
    layer = trial.layer32
    run = backends.compile_fully(direction(layer, inverse), layer, thorough=trial.thorough)
    named = trial.subject.named(layer, points.shape, trial.context, inverse, seed=trial.seed)
    args = [ops.convert_to_tensor(points.astype("float32")), *named.values()]
    try:
        with backends.no_grad():
            return [ops.convert_to_numpy(part) for part in run(*args)]
    except Exception as error:  # eagerly it answered, so whatever this is, compiling is what it cannot do
        place = traced.place(error)
        where = f"a stop at {place}" if place else "a stop"
        if traced.complaint(error):
            expected, received = f"{side} to compile in one piece", f"{where}, where {traced.ASKS}"
            raise Broken(expected, received, hint=traced.HINT) from error
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        raise Broken(f"{side} to compile", f"{where}, {text}") from error
