"""Compiled and eager agree, and flow maths stays in full precision under a mixed policy."""

import keras
import numpy as np

from flowkit.contract.precision import rounding_unit
from flowkit.engines import engine
from flowkit.testing.causes import ASKS, COMPILE_HINT, cause_of, text_of, traced
from flowkit.testing.inputs import direction
from flowkit.testing.judging import SIDES, Broken, Undecided, clause, judge, require
from flowkit.testing.tolerances import ROUNDINGS
from flowkit.testing.trial import tied


@clause("compiled", per="once")
def compiled(trial):
    """Require that directions answer as eagerly when compiled (jax.jit, torch.compile, tf.function with XLA).

    Hint: A Python `if` on a tensor's value, numpy on a tensor, or an op that XLA lacks is in the way.
    """
    judged = False
    for inverse, _ in trial.directions:
        eager, answer = trial.run32(inverse), _compiled(trial, inverse)
        judged |= trial.agree32(inverse, eager, answer, "eager {}")
    if not judged:
        raise Undecided("no answer is finite")


def _compiled(trial, inverse):
    layer, side = trial.layer32, SIDES[inverse]
    run = engine.compile_fully(direction(layer, inverse), layer, thorough=trial.subject.thorough)
    try:
        with engine.no_grad():
            return trial.answers(run, trial.inputs(inverse), layer)
    except Exception as error:  # eagerly it answered, so whatever this is, compiling is what it cannot do
        line = cause_of(error).line
        where = f"a stop at {line}" if line else "a stop"
        if traced(error):
            where, hint = f"{where}, where {ASKS}", COMPILE_HINT
            raise Broken(f"{side} to compile in one piece", where, hint=hint) from error
        raise Broken(f"{side} to compile", f"{where}, {text_of(error)}") from error


@clause("mixed precision", per="once")
def mixed_precision(trial):
    """Require float32 log-dets and maths under "mixed_bfloat16", and that the round trip holds.

    Hint: Leave dtype to the base class; cast what a low-precision network answers to self.compute_dtype.
    """
    subject, before = trial.subject, keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = subject.build(subject.make("mixed_bfloat16"), trial.event)
        layer.set_weights(trial.layer32.get_weights())
        for inverse, _ in trial.directions:
            names = ("x", "inverse log_det") if inverse else ("z", "log_det")
            for name, answer in zip(names, trial.run32(inverse, layer=layer), strict=True):
                found = answer.dtype.name
                full = found in ("float32", "float64")
                require(full, f"{name} of at least float32 under mixed_bfloat16", found)
    finally:
        keras.config.set_dtype_policy(before)
    # The direction after which the other gives back the point that it came from.
    first = next((inverse for inverse in (False, True) if not subject.model.is_lossy(inverse=inverse)), None)
    if first is not None and len(trial.directions) == 2:
        _comes_back(trial, first, layer)


def _comes_back(trial, inverse, layer):
    """Compare the points with what has come back, and the log-dets of the way with those of the way back."""
    points, name = trial.points(inverse), "z" if inverse else "x"
    value, log_det = trial.run32(inverse, layer=layer)
    there_again = trial.inputs(not inverse)._replace(x=value)
    back, log_det_back = trial.run32(not inverse, there_again, layer=layer)
    there, again = trial.measured_in(inverse), trial.measured_after(inverse)
    grow = rounding_unit("float32") / trial.eps
    allowed = again.output.allowed(grow) + trial.declared(points)
    error = ROUNDINGS * grow * there.output.error
    known = trial.resolved(value.astype("float64"), error, trial.domain(not inverse))
    what = f"{name} after a round trip in mixed precision"
    judge(points, back.astype("float64"), allowed, what=what, where=points, among=known)
    likelihood = trial.spec.likelihood
    if likelihood == "bound" or (likelihood != "exact" and tied(trial.subject) != inverse):
        return
    allowed = there.log_det.allowed(grow) + again.log_det.allowed(grow)
    expected, received = -log_det.astype("float64"), log_det_back.astype("float64")
    known &= np.isfinite(log_det)
    judge(expected, received, allowed, what=f"{SIDES[inverse]} log_det", where=points, among=known)
