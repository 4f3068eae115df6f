"""An input that does not fit is refused, and the message says why."""

import numpy as np

from flowkit.testing.clause import Broken, clause


@clause(
    "wrong rank",
    "an event of a rank that the spec does not allow raises a ValueError that names the shape",
    hint="Leave the check to the base class: do not override call, and set spec.event_rank.",
    per="once",
    applies=lambda subject: "any rank" if subject.spec.event_rank is None else None,
)
def wrong_rank(trial):
    allowed = trial.spec.event_rank
    ranks = (allowed,) if isinstance(allowed, int) else allowed
    for rank in {max(ranks) + 1, min(ranks) - 1} - {0, *ranks}:
        event = (
            (*trial.event, 1)[:rank]
            if rank <= len(trial.event)
            else (*trial.event, *(1,) * (rank - len(trial.event)))
        )
        _refused(trial, event, f"a ValueError for events of rank {rank}")


@clause(
    "wrong size",
    "an event that the weights or the spec do not fit raises a ValueError that names the shape",
    hint="Set spec.event_multiple, and leave the checks to the base class; do not slice or broadcast by accident.",
    per="once",
)
def wrong_size(trial):
    layer, event = trial.layer32, trial.event
    for axis, multiple in enumerate(trial.spec.event_multiple or ()):
        if multiple > 1 and axis < len(event):
            wrong = tuple(n + 1 if i == axis else n for i, n in enumerate(event))
            _refused(
                trial, wrong, f"a ValueError for an axis of {event[axis] + 1}, no multiple of {multiple}"
            )
    if layer.weights:
        _refused(
            trial,
            (*event[:-1], event[-1] + 1),
            f"a ValueError for {event[-1] + 1} channels from weights made for {event[-1]}",
        )


def _refused(trial, event, expected):
    rows = np.full((2, *event), 0.5)
    context = None if trial.context is None else trial.context[:2]
    try:
        trial.call32(rows, context)
    except ValueError as error:
        if not any(str(n) in str(error) for n in event):
            raise Broken(
                f"{expected}, with the shape in its message", f"the message {str(error)[:200]!r}"
            ) from error
        return
    except Exception as error:
        raise Broken(expected, f"{type(error).__name__}: {str(error)[:200]}") from error
    raise Broken(expected, "an answer")
