"""The log-det is the logarithm of the Jacobian's determinant."""

import numpy as np

from flowkit.testing.examples import ROWS
from flowkit.testing.inputs import Inputs, needs_of, noise_log_density, noise_of
from flowkit.testing.judging import SIDES, Broken, ask_unless, clause, judge, point, require
from flowkit.testing.mass import DRAWS, ERRORS, mass_is_one
from flowkit.testing.tolerances import ROUNDINGS, log_abs_det
from flowkit.testing.trial import leading, tied


@clause("log-det")
def log_det(trial):
    """Require that log_det, or its mean if it is estimated, is log|det d output / d input|.

    That is found by automatic differentiation in float64. A direction that draws a part of its output returns
    log|det d output / d (input, noise)| - log density of the noise, or a density of mass 1 if its noise is discrete.

    Hint: A sign, a sum over the event, or the number of places (height * width) may be missing.
    """
    inverse, joint = leading(trial.subject)
    full, wobble = trial.jacobians
    eps, given = trial.eps, trial.inputs(inverse)
    jac, noise = full, wobble + eps * np.abs(full)
    what = "log|det dx/dz|" if inverse else "log|det dz/dx|"
    if joint:
        what = f"log|det d {'x' if inverse else 'z'} / d (input, noise)| - log density of the noise"
    else:
        spec = trial.spec.inverted() if inverse else trial.spec
        jac = reduced(full, spec, *trial.events(inverse))
        # Differences of columns, on a simplex, carry the rounding of both.
        noise = reduced(noise, spec, *trial.events(inverse), plus=True)
    if jac.shape[1] != jac.shape[2] and joint:
        return mass_is_one(trial)
    require(jac.shape[1] == jac.shape[2], f"as many outputs as inputs ({jac.shape[2]})", f"{jac.shape[1]}")
    oracle, error, _ = log_abs_det(jac, noise, eps)
    if joint:
        needs = needs_of(trial.layer32, given.x.shape, inverse)
        oracle = oracle - noise_log_density(needs, given.noise)
    _agrees(trial, inverse, oracle, error, what)


def _agrees(trial, inverse, oracle, error, what):
    measured, where = trial.measured_in(inverse).log_det, trial.points(inverse)
    received, deviation = measured.value, 0.0
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
    no_number = np.isnan(received) & np.isfinite(oracle) & np.isfinite(error)
    if no_number.any():
        row = int(np.argmax(no_number))
        raise Broken(
            f"{what} = {oracle[row]:.6g}",
            f"NaN at {point(where[row])}",
            sample=row,
            hint="Take the logarithm of the absolute value: a determinant or a slope may be negative.",
        )
    allowed = ROUNDINGS * error + measured.allowed() + trial.declared_log_det(oracle, inverse)
    judge(oracle, received, allowed + ERRORS * deviation, what=what, where=where)


@clause("inverse log-det", needs=(True, False))
def inverse_log_det(trial):
    """Require that log_det of inverse(z), or its mean, is minus that of forward at the point that it returns.

    Likewise for a direction that draws and the one that drops what it draws.

    Hint: The inverse's log-det is that of its own direction: minus forward's, at x = inverse(z).
    """
    inverse = tied(trial.subject)
    here, there, points = trial.measured_in(inverse), trial.measured_after(inverse), trial.points(inverse)
    allowed = here.log_det.allowed() + there.log_det.allowed()
    given, taken = here.log_det.value, there.log_det.value
    if trial.spec.likelihood == "estimated":
        given, one = mean_log_det(trial, inverse, points)
        taken, other = mean_log_det(trial, not inverse, here.output.value)
        allowed = allowed + ERRORS * np.hypot(one, other)
    allowed = allowed + trial.declared_log_det(given, inverse) + trial.declared_log_det(taken, not inverse)
    # Infinite log-dets of two signs at an overflow agree.
    among = trial.comes_back(inverse) & ~(np.isinf(given) & (given == -taken))
    judge(-taken, given, allowed, what=f"-log_det of {SIDES[not inverse]}", where=points, among=among)


def mean_log_det(trial, inverse, x):
    """Return (mean, standard error) of one direction's log-det over its noise, for each of ROWS samples of `x`."""
    needs = needs_of(trial.layer64, (None, *x.shape[1:]), inverse)
    given = trial.inputs(inverse)._replace(x=x)
    if not needs:
        return trial.run64(inverse, given)[1], np.zeros(ROWS)
    rng = np.random.default_rng([trial.seed, 10, inverse, trial.draw])
    rows = np.concatenate([x] * DRAWS)
    given = given._replace(x=rows, noise=noise_of(needs, len(rows), rng))
    log_dets = trial.run64(inverse, given)[1].reshape(DRAWS, ROWS)
    with np.errstate(invalid="ignore"):
        return log_dets.mean(axis=0), log_dets.std(axis=0, ddof=1) / np.sqrt(DRAWS)


@clause("log-det kind")
def kind(trial):
    """Require that the log-det is zero, or the same for all x, if the spec says so.

    Hint: Declare log_det="varying" (or "constant") in the spec.
    """
    ask_unless(trial.spec.log_det == "varying", "declared varying")
    ask_unless(trial.spec.likelihood == "estimated", "an estimate varies")
    for inverse, (where, *_) in trial.directions:
        measured = trial.measured_in(inverse).log_det
        given, error = measured.value, measured.allowed()
        if trial.spec.log_det == "zero":
            expected = np.zeros_like(given)
        else:
            if trial.context is not None:  # which may decide: the same one for all x
                given = trial.run64(inverse, Inputs(where, trial.first(len(where))))[1]
            expected, error = np.full_like(given, given[0]), error + error[0]
        judge(expected, given, error, what="log_det", where=where)


def reduced(jacobian, spec, event, latent_event, plus=False):
    """Return the Jacobian between free coordinates: on a simplex the last entry is what the others leave.

    `plus` adds what the Jacobian subtracts: so errors are reduced.
    """
    rows, outputs, size = jacobian.shape
    if spec.domain.kind == "simplex":
        j = jacobian.reshape(rows, outputs, size // event[-1], event[-1])
        jacobian = (j[..., :-1] + (1 if plus else -1) * j[..., -1:]).reshape(rows, outputs, -1)
    if spec.codomain.kind == "simplex":
        j = jacobian.reshape(rows, outputs // latent_event[-1], latent_event[-1], -1)
        jacobian = j[:, :, :-1].reshape(rows, -1, j.shape[-1])
    return jacobian
