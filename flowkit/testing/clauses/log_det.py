"""The log-det is the logarithm of the Jacobian's determinant."""

import numpy as np

from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.contexts import rows
from flowkit.testing.given.declared import answer_error, declared_log_det
from flowkit.testing.given.estimates import DRAWS, ERRORS, mean_log_det
from flowkit.testing.given.leading import leading, tied
from flowkit.testing.given.mass import mass_is_one
from flowkit.testing.given.noise import log_density, needs_of
from flowkit.testing.given.tolerances import ROUNDINGS, log_abs_det, tame
from flowkit.testing.verdicts.broken import Broken, judge, point


@clause(
    "log-det",
    "log_det is log|det d output / d input|, by automatic differentiation in float64; of an estimate the mean is; what "
    "draws part of its output gives log|det d output / d (input, noise)| - log density of the noise, or a density with "
    "a mass of 1 if its noise is discrete",
    hint="A sign, a sum over the event, or the number of places (height * width) may be missing.",
    applies=lambda subject: reason if isinstance(reason := leading(subject), str) else None,
)
def of_the_jacobian(trial):
    inverse, joint = leading(trial.subject)
    full, wobble = trial.jacobians
    eps, what = trial.unit_of(inverse), "log|det dx/dz|" if inverse else "log|det dz/dx|"
    if joint:
        jac, noise = full, wobble + eps * np.abs(full)
        what = f"log|det d {'x' if inverse else 'z'} / d (input, noise)| - log density of the noise"
    else:
        spec, event, latent = trial.spec, trial.event, trial.latent_event
        if inverse:
            spec, event, latent = spec.inverted(), latent, event
        jac = reduced(full, spec, event, latent)
        # Differences of columns, on a simplex, carry the rounding of both.
        noise = reduced(wobble + eps * np.abs(full), spec, event, latent, plus=True)
    if jac.shape[1] != jac.shape[2]:
        if joint:
            return mass_is_one(trial)
        raise Broken(f"as many outputs as inputs ({jac.shape[2]})", f"{jac.shape[1]}")
    oracle, error, _ = log_abs_det(jac, noise, eps)
    if joint:
        oracle = oracle - log_density(
            needs_of(trial.layer32, trial.points(inverse).shape, inverse), trial.noise(inverse)
        )
    _agrees(trial, inverse, oracle, error, what)


def _agrees(trial, inverse, oracle, error, what):
    measured, where = trial.measured_in(inverse), trial.points(inverse)
    received, deviation = measured.log_det, 0.0
    if trial.spec.likelihood == "estimated":
        received, deviation = mean_log_det(trial, inverse, where)
        what = f"the mean of {DRAWS} draws, {what}"
    singular = np.isinf(error) & ~np.isnan(oracle) & np.isfinite(received) & (received > oracle + 1)
    if singular.any():
        row = int(np.argmax(singular))
        raise Broken(
            "a log_det of a singular Jacobian, -inf up to rounding: the map, or its gradient, is flat here",
            f"{received[row]:.6g} at {point(where[row])}",
            sample=row,
        )
    allowed = ROUNDINGS * (error + measured.log_det_error) + declared_log_det(trial, oracle, inverse)
    judge(oracle, received, allowed + ERRORS * deviation, what=what, where=where)


@clause(
    "inverse log-det",
    "log_det of inverse(z) is minus that of forward at the point it returns, or the mean of the one minus that of the "
    "other; of what draws, and what drops that, likewise",
    hint="The inverse's log-det is that of its own direction: minus forward's, at x = inverse(z).",
    applies=lambda subject: reason if isinstance(reason := tied(subject), str) else None,
    needs_inverse=True,
    needs_forward=True,
)
def of_the_other_direction(trial):
    inverse = tied(trial.subject)
    here, there = trial.measured_in(inverse), trial.measured_after(inverse)
    allowed = ROUNDINGS * (here.log_det_error + there.log_det_error + there.log_det_spread)
    known = trial.resolved(here.value, ROUNDINGS * answer_error(trial, inverse), trial.domain(not inverse))
    known &= tame(there, trial.points(inverse))
    given, taken = here.log_det, there.log_det
    if trial.spec.likelihood == "estimated":
        given, one = mean_log_det(trial, inverse, trial.points(inverse))
        taken, other = mean_log_det(trial, not inverse, here.value)
        allowed = allowed + ERRORS * np.hypot(one, other)
    allowed = allowed + declared_log_det(trial, given, inverse) + declared_log_det(trial, taken, not inverse)
    # Infinite log-dets of two signs at an overflow agree.
    among = known & ~(np.isinf(given) & (given == -taken))
    what = f"-log_det of {'forward' if inverse else 'inverse'}"
    judge(-taken, given, allowed, what=what, where=trial.points(inverse), among=among)


@clause(
    "log-det kind",
    "the log-det is zero, or the same for all x, if the spec says so",
    hint='Declare log_det="varying" (or "constant") in the spec.',
    applies=lambda subject: _kind_not_asked(subject.spec),
)
def kind(trial):
    for inverse, where in trial.directions:
        measured = trial.measured_in(inverse)
        given, error = measured.log_det, ROUNDINGS * measured.log_det_error
        if trial.spec.log_det == "zero":
            judge(np.zeros_like(given), given, error, what="log_det", where=where)
            continue
        if trial.context is not None:  # which may decide: the same one for all x
            given = trial.run64(where, inverse, rows(trial.context, [0] * len(where)))[1]
        judge(np.full_like(given, given[0]), given, error + error[0], what="log_det", where=where)


def _kind_not_asked(spec):
    if spec.log_det == "varying":
        return "declared varying"
    return "an estimate varies" if spec.likelihood == "estimated" else None


def reduced(jacobian, spec, event, latent_event, plus=False):
    """The Jacobian between free coordinates: on a simplex the last entry of each row is what the others leave.

    `plus` adds what the Jacobian subtracts: so errors are reduced.
    """
    rows, outputs, inputs = jacobian.shape
    if spec.domain.kind == "simplex":
        k = event[-1]
        j = jacobian.reshape(rows, outputs, inputs // k, k)
        jacobian = (j[..., :-1] + (1 if plus else -1) * j[..., -1:]).reshape(rows, outputs, -1)
    if spec.codomain.kind == "simplex":
        k = latent_event[-1]
        j = jacobian.reshape(rows, outputs // k, k, -1)
        jacobian = j[:, :, :-1].reshape(rows, -1, j.shape[-1])
    return jacobian
