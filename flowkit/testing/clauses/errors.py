"""An input that does not fit is refused in both directions, and the message says why."""

import numpy as np

from flowkit.testing.clauses.clause import clause
from flowkit.testing.verdicts.broken import Broken, Undecided
from flowkit.testing.verdicts.cause import said


@clause(
    "wrong rank",
    "an event, or a latent, of a rank that the spec does not allow raises a ValueError that names the shape",
    hint="Leave the check to the base class: do not override call, and set spec.event_rank.",
    per="once",
    applies=lambda subject: "any rank" if subject.spec.event_rank is None else None,
)
def wrong_rank(trial):
    allowed = trial.spec.event_rank
    ranks = {allowed} if isinstance(allowed, int) else set(allowed)
    latents = {trial.layer32.latent_rank(rank) for rank in ranks}
    for inverse, _ in trial.directions:
        event, fitting = (trial.latent_event, latents) if inverse else (trial.event, ranks)
        if None in fitting:
            continue  # a latent of any rank may fit
        for rank in {max(fitting) + 1, min(fitting) - 1} - {0, *fitting}:
            wrong = (*event, *(1,) * rank)[:rank]
            _refuses(trial, wrong, inverse, f"a ValueError for {_side(inverse)} events of rank {rank}")


@clause(
    "wrong size",
    "an event, or a latent, that weights or spec do not fit raises a ValueError that names the shape",
    hint="Set spec.event_multiple, and leave the checks to the base class; do not slice or broadcast by accident.",
    per="once",
)
def wrong_size(trial):
    layer, event, latent = trial.layer32, trial.event, trial.latent_event
    multiples = (*(trial.spec.event_multiple or ()), *(1,) * len(event))
    refused = 0
    for axis, multiple in enumerate(multiples[: len(event)] if trial.subject.has(False) else ()):
        wrong, size = _larger(event, axis), event[axis] + 1
        if multiple > 1:
            _refuses(trial, wrong, False, f"a ValueError for an axis of {size}, no multiple of {multiple}")
        elif layer.weights and (axis == len(event) - 1 or trial.spec.fixed_axes == "all"):
            what = f"{size} channels" if axis == len(event) - 1 else f"an axis of {size}"
            _refuses(trial, wrong, False, f"a ValueError for {what} from weights made for {event[axis]}")
        else:
            refused += _refuses_or_fits(trial, wrong, layer.compute_output_shape, inverse=False)
            continue
        refused += 1
    for axis in range(len(latent) if trial.subject.has(True) else 0):
        wrong = _larger(latent, axis)
        refused += _refuses_or_fits(trial, wrong, layer.compute_inverse_shape, inverse=True)
    if not refused:
        raise Undecided("it fits events of any size")


def _larger(event, axis):
    return tuple(n + (i == axis) for i, n in enumerate(event))


def _side(inverse):
    return "inverse's" if inverse else "forward's"


def _refuses_or_fits(trial, event, shape, inverse):
    """True for a proper refusal, False for an answer that has the shape which `shape` tells; neither is broken.

    Weights belong to the channels of the data, or to all their axes: an answer of other ones than theirs is none that
    fits.
    """
    fixed = slice(None) if trial.spec.fixed_axes == "all" else slice(-1, None)
    try:
        told = tuple(shape((2, *event)))[1:]
    except ValueError:
        told = None
    if told is None or (inverse and trial.layer32.weights and told[fixed] != trial.event[fixed]):
        _refuses(trial, event, inverse, f"a ValueError for {_side(inverse)} events of shape {event}")
        return True
    try:
        value, _ = _call(trial, event, inverse, told if inverse else event)
    except ValueError as error:
        _names(error, event, f"a ValueError for {_side(inverse)} events of shape {event}")
        return True
    except Exception as error:
        raise Broken(
            f"a ValueError for {_side(inverse)} events of shape {event}, or an answer",
            f"{type(error).__name__}: {said(error)}",
        ) from error
    if value.shape[1:] != told:
        raise Broken(
            f"a ValueError for {_side(inverse)} events of shape {event}, or an answer of shape {told}, as is told",
            f"shape {value.shape[1:]}",
        )
    return False


def _refuses(trial, event, inverse, expected):
    try:
        _call(trial, event, inverse)
    except ValueError as error:
        _names(error, event, expected, _told(trial, event, inverse))
        return
    except Exception as error:
        raise Broken(expected, f"{type(error).__name__}: {said(error)}") from error
    raise Broken(expected, "an answer")


def _told(trial, event, inverse):
    """The event on the other side, which a layer that runs another one backwards speaks of; () if there is none."""
    layer = trial.layer32
    try:
        return tuple((layer.compute_inverse_shape if inverse else layer.compute_output_shape)((2, *event)))[
            1:
        ]
    except ValueError:
        return ()


def _call(trial, event, inverse, data=None):
    """An answer for an event; `data` is the event on the data's side, which a context may be made for."""
    context = None if trial.context is None else trial.subject.context(data or trial.event, trial.seed, 2)
    return trial.call32(np.full((2, *event), 0.5), context, inverse)


def _names(error, event, expected, other=()):
    if not any(str(n) in str(error) for n in (*event, *other)):
        raise Broken(f"{expected}, with the shape in its message", f"the message {said(error)!r}") from error
