"""An input that does not fit is refused in both directions, and the message says why."""

import numpy as np

from flowkit.testing.causes import message_of
from flowkit.testing.examples import Example
from flowkit.testing.inputs import Inputs
from flowkit.testing.judging import SIDES, Broken, Undecided, clause, require
from flowkit.testing.trial import Trial


@clause(
    "wrong rank", per="once", applies=lambda subject: "any rank" if subject.spec.event_rank is None else None
)
def wrong_rank(trial):
    """Require a ValueError that names the shape for an event, or a latent, of a rank that the spec does not allow.

    Hint: Leave the check to the base class: do not override call, and set spec.event_rank.
    """
    allowed = trial.spec.event_rank
    ranks = {allowed} if isinstance(allowed, int) else set(allowed)
    latents = {trial.layer32.latent_rank(rank) for rank in ranks}
    for inverse, _ in trial.directions:
        fitting = latents if inverse else ranks
        if None in fitting:
            continue  # a latent of any rank may fit
        for rank in {max(fitting) + 1, min(fitting) - 1} - {0, *fitting}:
            wrong = (*trial.events(inverse)[0], *(1,) * rank)[:rank]
            _refuses(trial, wrong, inverse, f"a ValueError for {SIDES[inverse]}'s events of rank {rank}")


@clause("wrong size", per="once")
def wrong_size(trial):
    """Require a ValueError that names the shape for an event, or a latent, that weights or spec do not fit.

    Hint: Set spec.event_multiple, and leave the checks to the base class; do not slice or broadcast by accident.
    """
    layer, event, latent = trial.layer32, trial.event, trial.latent_event
    multiples = (*(trial.spec.event_multiple or ()), *(1,) * len(event))
    refused = 0
    for axis, multiple in enumerate(multiples[: len(event)] if trial.subject.has(False) else ()):
        wrong, size, channels = _larger(event, axis), event[axis] + 1, axis == len(event) - 1
        if multiple > 1:
            _refuses(trial, wrong, False, f"a ValueError for an axis of {size}, no multiple of {multiple}")
        elif layer.weights and (channels or trial.spec.fixed_axes == "all"):
            what = f"{size} channels" if channels else f"an axis of {size}"
            _refuses(trial, wrong, False, f"a ValueError for {what} from weights made for {event[axis]}")
        else:
            refused += _refuses_or_fits(trial, wrong, inverse=False)
            continue
        refused += 1
    for axis in range(len(latent) if trial.subject.has(True) else 0):
        refused += _refuses_or_fits(trial, _larger(latent, axis), inverse=True)
    if not refused:
        raise Undecided("it fits events of any size")


def _larger(event, axis):
    return tuple(n + (i == axis) for i, n in enumerate(event))


def _refuses_or_fits(trial, event, inverse):
    """Return True for a proper refusal, False for an answer of the shape that the layer declares.

    Weights belong to the channels of the data, or to all their axes: an answer with other ones does not fit.
    """
    fixed = slice(None) if trial.spec.fixed_axes == "all" else slice(-1, None)
    expected = f"a ValueError for {SIDES[inverse]}'s events of shape {event}"
    other = _other_side(trial, event, inverse)
    if other is None or (inverse and trial.layer32.weights and other[fixed] != trial.event[fixed]):
        _refuses(trial, event, inverse, expected)
        return True
    value = _answer(
        trial, event, inverse, f"{expected}, or an answer", context_of=other if inverse else event
    )
    if value is None:
        return True
    found = value.shape[1:]
    says = "compute_inverse_shape" if inverse else "compute_output_shape"
    require(found == other, f"{expected}, or an answer of shape {other}, as {says} says", f"shape {found}")
    return False


def _refuses(trial, event, inverse, expected):
    # A layer that runs another one backwards names the event on the other side.
    other = _other_side(trial, event, inverse) or ()
    require(_answer(trial, event, inverse, expected, other) is None, expected, "an answer")


def _other_side(trial, event, inverse):
    """Return the event that a direction makes of `event`, or None if the layer refuses to compute it."""
    layer = trial.layer32
    try:
        shape = layer.compute_inverse_shape if inverse else layer.compute_output_shape
        return tuple(shape((2, *event)))[1:]
    except ValueError:
        return None


def _answer(trial, event, inverse, expected, other=(), context_of=None):
    """Return the output for an event, or None for a ValueError that names it, or the event `other`.

    `context_of` is the event on the data's side, which a context may be made for. Raises `Broken` for another error.
    """
    context = trial.context
    if context is not None:
        context = trial.subject.context(context_of or trial.event, trial.seed, 2)
    try:
        return trial.run32(inverse, Inputs(np.full((2, *event), 0.5), context))[0]
    except ValueError as error:
        if not any(str(n) in str(error) for n in (*event, *other)):
            found = f"the message {message_of(error)!r}"
            raise Broken(f"{expected}, with the shape in its message", found) from error
        return None
    except Exception as error:
        raise Broken(expected, f"{type(error).__name__}: {message_of(error)}") from error


def _places_are_fixed(subject):
    if subject.spec.fixed_axes == "all":
        return "the spec fixes all axes"
    return None if any(len(event) > 1 for event in subject.events) else "vectors have channels alone"


@clause("other places", per="once", applies=_places_are_fixed)
def other_places(trial):
    """Require that a layer called with events of more places than it was built for answers as if built for them.

    Hint: The number of places, height * width, is that of x.shape in _forward and z.shape in _inverse, not of build.
    """
    subject = trial.subject
    event = [event for event in subject.events if len(event) > 1][-1]
    multiple = (*(subject.spec.event_multiple or ()), *(1,) * len(event))
    larger = (*(n + m for n, m in zip(event[:-1], multiple, strict=False)), event[-1])
    try:
        there = Trial(subject, Example(larger, seed=1, noise=1.0))
        meant, layer, _ = there.layer32, subject.built(event), there.latent_event
    except ValueError:
        raise Undecided(f"it refuses to be built for {larger}") from None
    if [v.shape for v in layer.weights] != [v.shape for v in meant.weights]:
        raise Undecided("its weights are made for the places: clause 'wrong size'")
    layer.set_weights([v.numpy() for v in meant.weights])
    judged = False
    for inverse, given in there.directions:
        expected = there.run32(inverse)
        try:
            received = there.run32(inverse, layer=layer)
        except ValueError:  # which is a proper way to refuse them
            continue
        judged = True
        what = f"the same {{}} for events of shape {larger}, built for them or for {event}"
        there.same(inverse, expected, received, given.x, what)
    if not judged:
        raise Undecided("it refuses other places than it was built for")
