"""Samples do not see each other."""

import numpy as np

from flowkit.contract.precision import rounding_unit
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.contexts import rows
from flowkit.testing.given.tolerances import ROUNDINGS
from flowkit.testing.verdicts.broken import Broken, Undecided, judge


@clause(
    "batch independence",
    "each sample's answer, to its own context and noise, is the same alone, in a slice and in any order",
    hint="A statistic, a sum or a reshape runs over the batch axis.",
    per="event",
)
def independence(trial):
    judged = False
    for inverse, points in trial.directions:
        measured = trial.measured_in(inverse)
        whole = trial.call32(points, trial.context, inverse)
        # The float64 measurement, in float32's units: blocks of another size round in another order.
        grow = rounding_unit("float32") / trial.unit_of(inverse)
        errors = measured.value_error * grow, measured.log_det_error * grow
        for order in ([2, 0, 1], [1, 2], [0], [1], [2], [1, 1]):
            context, noise = (rows(given, order) for given in (trial.context, trial.noise(inverse)))
            part = trial.call32(points[order], context, inverse, noise=noise)
            for name, expected, received, error in zip(
                ("output", "log_det"), whole, part, errors, strict=True
            ):
                if expected[order].shape != received.shape:
                    raise Broken(
                        f"{name} of shape {expected[order].shape} for samples {order}", f"{received.shape}"
                    )
                side = "inverse" if inverse else "forward"
                finite = np.isfinite(expected[order]).reshape(len(order), -1).all(axis=1)
                if not finite.any():
                    continue
                judged = True
                judge(
                    expected[order].astype("float64"),
                    received.astype("float64"),
                    np.minimum(2 * ROUNDINGS * error[order], np.maximum(1, np.abs(expected[order])) / 32),
                    what=f"{name} of {side} for samples {order} of the batch",
                    where=points[order],
                    among=finite,
                )
    if not judged:
        raise Undecided("no answer is finite")


@clause(
    "empty batch",
    "a batch without samples gives an output and a log_det without samples",
    hint="Reshape to the event's known axes; do not divide by the batch's size.",
    per="event",
)
def empty(trial):
    for inverse, points in trial.directions:
        event = trial.event if inverse else trial.latent_event
        context = rows(trial.context, slice(0))
        value, log_det = trial.call32(points[:0], context, inverse)
        if value.shape != (0, *event) or log_det.shape != (0,):
            raise Broken(f"shapes {(0, *event)} and (0,)", f"{value.shape} and {log_det.shape}")
