"""Automatic gradients are those of the function: compared with finite differences in float64."""

import numpy as np
from keras import ops

from flowkit import backends
from flowkit.testing.clauses.clause import clause
from flowkit.testing.clauses.finite import fits, no_gradients
from flowkit.testing.given import contexts
from flowkit.testing.given.declared import declared, declared_log_det
from flowkit.testing.given.functions import tensors
from flowkit.testing.given.points import within
from flowkit.testing.given.tolerances import ROUNDINGS
from flowkit.testing.verdicts.broken import Undecided, judge


@clause(
    "output gradient",
    "the gradient of the output for the input, the context and every weight equals finite differences, also in an "
    "analytic inverse",
    hint="A stop_gradient, a detached or rounded value, a custom gradient or a solver's loop may be in the way. "
    "solver_gradients=False in the spec declares that what is solved has none.",
    per="event",
)
def output(trial):
    _both_directions(trial, of=0)


@clause(
    "log-det gradient",
    "the gradient of the log-det for the input, the context and every weight equals finite differences, also in an "
    "analytic inverse",
    hint="A stop_gradient, a detached or rounded value, numpy or a solver's loop in the log-det may be in the way. "
    "solver_gradients=False in the spec declares that what is solved has none.",
    per="event",
)
def log_det(trial):
    _both_directions(trial, of=1)


def _both_directions(trial, of):
    judged, reasons = 0, []
    for inverse, _ in trial.directions:
        try:
            judged += _compare(trial, inverse, of)
        except Undecided as found:
            reasons.append(str(found))
    if not judged:
        raise Undecided(reasons[0] if reasons else "too flat, or too bent, for differences to tell")


def _compare(trial, inverse, of):
    """How many of the gradients of one direction could be judged; raises `Undecided` if it is not asked at all."""
    if reason := no_gradients(trial.spec, inverse):
        raise Undecided(reason)
    measured, x, domain = trial.measured_in(inverse), trial.points(inverse), trial.domain(inverse)
    good = fits(measured, trial.unit_of(inverse))
    if not good.any():
        raise Undecided("all outputs are too large")
    rows = np.where(good, np.arange(len(x)), np.argmax(good))  # one that fits stands in for the others
    x, context, given = x[rows], *(contexts.rows(g, rows) for g in (trial.context, trial.noise(inverse)))
    answer, error = (
        (measured.log_det, measured.log_det_error) if of else (measured.value, measured.value_error)
    )
    answer, error = answer[rows], error[rows]
    layer, eps = trial.layer64, trial.unit_of(inverse)
    rng = np.random.default_rng([trial.seed, 6])
    cotangent = rng.normal(size=answer.shape)
    rounding = ROUNDINGS * float(np.sum(np.abs(cotangent) * (eps * np.abs(answer) + error)))
    if (trial.spec.inverse if inverse else trial.spec.forward) == "iterative":
        # Each difference is off by what both of its ends may be: a wider step makes less of it.
        stops = declared_log_det(trial, answer, inverse) if of else declared(trial, answer)
        rounding += 2 * float(np.sum(np.abs(cotangent) * stops))
        eps = max(eps, float(np.max(stops / np.maximum(1, np.abs(answer)))))
    read = contexts.floating(context)  # an embedding learns by what is told of them
    names = ["x", *(v.path for v in layer.trainable_variables), *read]
    with backends.float64():
        run = trial.subject.gradient(trial.event, inverse, of, context is not None)
        start = [x, *(v.numpy() for v in layer.trainable_variables), *read.values()]
        start = [value.astype("float64") for value in start]
        constants = tensors(cotangent, context, given)

        def at(i=0, step=0.0):
            values = [v + step if j == i else v for j, v in enumerate(start)]
            value, grads = run([ops.convert_to_tensor(v, dtype="float64") for v in values], *constants)
            return float(ops.convert_to_numpy(value)), grads

        here, grads = at()
        judged = 0
        for i, (name, grad) in enumerate(zip(names, grads, strict=True)):
            # The cube root of the unit balances rounding and curvature.
            h = np.cbrt(eps) * np.maximum(1e-2, np.abs(start[i]))
            move = within(domain, x, h, rng) if i == 0 else h * rng.choice([-1.0, 1.0], size=h.shape)
            values = [at(i, factor * move)[0] for factor in (1, -1, 0.5, -0.5)]
            share = np.asarray(ops.convert_to_numpy(grad), "float64") * move
            what = f"d/d {name} of the {'inverse' if inverse else 'forward'} direction"
            judged += agree(here, values, share, rounding, what)
    return judged


def agree(here, values, share, rounding, what):
    """Compare one directional derivative, times the step, with differences at the step and at half of it.

    False if they can not tell.
    """
    plus, minus, half_plus, half_minus = values
    coarse, fine = (plus - minus) / 2, half_plus - half_minus
    expected = (4 * fine - coarse) / 3  # Richardson: the error is of fourth order
    # Two steps disagree where a third derivative matters, two sides where there is a kink.
    kink = abs(abs(plus - 2 * here + minus) - 4 * abs(half_plus - 2 * here + half_minus))
    allowed = abs(expected - coarse) + kink + rounding
    size = max(abs(expected), float(np.abs(share).sum()), 1e-300)  # what the step could have changed
    if size <= 16 * allowed and np.isfinite(share).all():
        return False  # too flat, or too bent
    expected, received, allowed = expected / size, share.sum() / size, allowed / size
    judge(np.array([expected]), np.array([received]), np.array([allowed]), what=f"{what}, relative")
    return True
