"""The log-det is the logarithm of the Jacobian's determinant."""

import numpy as np

from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.contexts import rows
from flowkit.testing.given.tolerances import ROUNDINGS, log_abs_det, tame
from flowkit.testing.verdicts.broken import Broken, judge, point


@clause(
    "log-det",
    "log_det of forward is log|det dz/dx|, by automatic differentiation in float64",
    hint="A sign, a sum over the event, or the number of places (height * width) may be missing.",
)
def forward_log_det(trial):
    eps = trial.unit_of(False)
    full, wobble = trial.jacobians
    jac = reduced(full, trial.spec, trial.event, trial.latent_event)
    # Differences of columns, on a simplex, carry the rounding of both.
    noise = reduced(wobble + eps * np.abs(full), trial.spec, trial.event, trial.latent_event, plus=True)
    if jac.shape[1] != jac.shape[2]:
        raise Broken(f"as many outputs as inputs ({jac.shape[2]})", f"{jac.shape[1]}")
    oracle, error, _ = log_abs_det(jac, noise, eps)
    received = trial.there.log_det
    singular = np.isinf(error) & ~np.isnan(oracle) & np.isfinite(received) & (received > oracle + 1)
    if singular.any():
        row = int(np.argmax(singular))
        raise Broken(
            "a log_det of a singular Jacobian, -inf up to rounding: the map, or its gradient, is flat here",
            f"{received[row]:.6g} at {point(trial.x[row])}",
            sample=row,
        )
    allowed = ROUNDINGS * (error + trial.there.log_det_error)
    judge(oracle, received, allowed, what="log|det dz/dx|", where=trial.x)


@clause(
    "inverse log-det",
    "log_det of inverse(z) is minus that of forward at the point it returns",
    hint="The inverse's log-det is that of its own direction: minus forward's, at x = inverse(z).",
    needs_inverse=True,
)
def inverse_log_det(trial):
    back, there = trial.back, trial.back_and_there
    allowed = ROUNDINGS * (back.log_det_error + there.log_det_error + there.log_det_spread)
    known = trial.resolved(back.value, ROUNDINGS * trial.back_error, trial.spec.domain)
    known &= tame(there, trial.z)
    # Infinite log-dets of two signs at an overflow agree.
    among = known & ~(np.isinf(back.log_det) & (back.log_det == -there.log_det))
    judge(-there.log_det, back.log_det, allowed, what="-log_det of forward", where=trial.z, among=among)


@clause(
    "log-det kind",
    "the log-det is zero, or the same for all x, if the spec says so",
    hint='Declare log_det="varying" (or "constant") in the spec.',
    applies=lambda subject: "declared varying" if subject.spec.log_det == "varying" else None,
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


def reduced(jacobian, spec, event, latent_event, plus=False):
    """The Jacobian between free coordinates: on a simplex the last entry of each row is what the others leave.

    `plus` adds where the Jacobian subtracts: so errors are reduced.
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
