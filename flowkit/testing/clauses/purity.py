"""A call changes nothing and remembers nothing."""

import numpy as np

from flowkit.testing.clauses.clause import clause
from flowkit.testing.verdicts.broken import Broken, unlike


@clause(
    "purity",
    "the same input, and noise, gives the same answer, whatever was called before, and no call changes a weight",
    hint="Something is written, drawn at random or remembered in _forward or _inverse: that belongs in _adapt, in "
    "_refresh, or in the noise that the spec declares.",
    per="event",
)
def purity(trial):
    layer = trial.layer32
    before = _state(layer)
    for inverse, points in trial.directions:
        side = "inverse" if inverse else "forward"
        first = trial.call32(points, trial.context, inverse)
        trial.call32(_others(trial, inverse), trial.context, inverse)
        # What the other direction was asked in between must not be handed back either.
        if trial.subject.has(not inverse):
            trial.call32(trial.points(not inverse)[::-1], trial.context, not inverse)
        for name, expected, received in zip(
            ("output", "log_det"), first, trial.call32(points, trial.context, inverse), strict=True
        ):
            if not np.array_equal(expected, received, equal_nan=True):
                raise Broken(f"the same {name} from {side} each time", unlike(expected, received, points))
        for (path, old), (_, new) in zip(before, _state(layer), strict=True):
            if not np.array_equal(old, new):
                trial.subject.forget(trial.event)
                raise Broken(
                    f"{side} to leave weight '{path}' as it was",
                    f"a change of {np.max(np.abs(1.0 * new - old)):.3g}",
                )
    fresh = trial.subject.twin(trial.example)
    for inverse, _ in trial.directions:
        others = _others(trial, inverse)  # the used layer's first call was on others than these
        new = trial.call32(others, trial.context, inverse, layer=fresh)
        used = trial.call32(others, trial.context, inverse)
        for name, expected, received in zip(("output", "log_det"), new, used, strict=True):
            if not np.array_equal(expected, received, equal_nan=True):
                side = "inverse" if inverse else "forward"
                raise Broken(
                    f"the same {name} of {side} from a fresh layer and from one that was called before",
                    unlike(expected, received, others),
                )


def _others(trial, inverse):
    """Points other than the trial's: between them, or of whole numbers the same in another order."""
    points = trial.points(inverse)
    return points[::-1] if trial.domain(inverse).kind == "whole" else points[::-1] * 0.5 + points * 0.5


def _state(layer):
    return [(v.path, v.numpy()) for v in layer.variables]
