"""An input that does not fit is refused in both directions, and the message says why."""

import numpy as np

from flowkit.testing.causes import message_of, text_of
from flowkit.testing.examples import Example
from flowkit.testing.inputs import Inputs
from flowkit.testing.judging import SIDES, Broken, Undecided, ask_unless, clause, require
from flowkit.testing.trial import Trial


@clause("wrong rank", per="once")
def wrong_rank(trial):
    """Require a ValueError that names the shape for an event, or a latent, of a rank that the spec does not allow.

    Hint: Leave the check to the base class: do not override call, and set spec.event_rank.
    """
    allowed = trial.spec.event_rank
    ask_unless(allowed is None, "any rank")
    ranks = {allowed} if isinstance(allowed, int) else set(allowed)
    latents = {trial.layer32.latent_rank(rank) for rank in ranks}
    for inverse, _ in trial.directions:
        fitting = latents if inverse else ranks
        if None in fitting:
            continue  # a latent of any rank may fit
        for rank in {max(fitting) + 1, min(fitting) - 1} - {0, *fitting}:
            wrong = (*trial.events(inverse)[0], *(1,) * rank)[:rank]
            _refused(trial, wrong, inverse, f"{SIDES[inverse]}'s events of rank {rank}")


@clause("wrong size", per="once")
def wrong_size(trial):
    """Require a ValueError that names the shape for an event, or a latent, that weights or spec do not fit.

    Hint: Set spec.event_multiple, and leave the checks to the base class; do not slice or broadcast by accident.
    """
    refused = 0
    for inverse, _ in trial.directions:
        event = trial.events(inverse)[0]
        for axis in range(len(event)):
            wrong = tuple(n + (i == axis) for i, n in enumerate(event))
            refused += _refused(trial, wrong, inverse, None if inverse else _misfit(trial, axis))
    if not refused:
        raise Undecided("it fits events of any size")


def _misfit(trial, axis):
    """Return what a layer must refuse: one more on an axis that is to be a multiple, or that weights are made for."""
    size, multiples = trial.event[axis] + 1, trial.spec.event_multiple or ()
    if axis < len(multiples) and multiples[axis] > 1:
        return f"an axis of {size}, no multiple of {multiples[axis]}"
    channels = axis == len(trial.event) - 1
    if trial.layer32.weights and (channels or trial.spec.fixed_axes == "all"):
        what = f"{size} channels" if channels else f"an axis of {size}"
        return f"{what} from weights made for {size - 1}"
    return None


def _refused(trial, event, inverse, misfit):
    """Return True for a proper refusal, a ValueError that names the event, False for an answer of the declared shape.

    A direction must refuse a `misfit`, a text, and an answer with other channels than the weights are made for.
    """
    layer, says = trial.layer32, "compute_inverse_shape" if inverse else "compute_output_shape"
    try:
        other = tuple(getattr(layer, says)((2, *event)))[1:]
    except ValueError:
        other = None
    fixed = slice(None) if trial.spec.fixed_axes == "all" else slice(-1, None)
    must = misfit or other is None or (inverse and layer.weights and other[fixed] != trial.event[fixed])
    expected = "a ValueError for " + (misfit or f"{SIDES[inverse]}'s events of shape {event}")
    either = expected if must else f"{expected}, or an answer"
    context = trial.context
    if context is not None:
        data = trial.event if must else other if inverse else event  # which a context may be made for
        context = trial.subject.context(data, trial.seed, 2)
    try:
        value = trial.run32(inverse, Inputs(np.full((2, *event), 0.5), context))[0]
    except ValueError as error:
        # A layer that runs another one backwards names the event on the other side.
        if not any(str(n) in str(error) for n in (*event, *(other or ()))):
            raise Broken(
                f"{either}, with the shape in its message", f"the message {message_of(error)!r}"
            ) from error
        return True
    except Exception as error:
        raise Broken(either, text_of(error)) from error
    require(not must, expected, "an answer")
    found = value.shape[1:]
    require(found == other, f"{either} of shape {other}, as {says} says", f"shape {found}")
    return False


@clause("other places", per="once")
def other_places(trial):
    """Require that a layer called with events of more places than it was built for answers as if built for them.

    Hint: The number of places, height * width, is that of x.shape in _forward and z.shape in _inverse, not of build.
    """
    subject = trial.subject
    ask_unless(subject.spec.fixed_axes == "all", "the spec fixes all axes")
    event = max(reversed(subject.events), key=len)
    ask_unless(len(event) == 1, "vectors have channels alone")
    multiple = (*(subject.spec.event_multiple or ()), *(1,) * len(event))
    larger = (*(n + m for n, m in zip(event[:-1], multiple, strict=False)), event[-1])
    try:
        there = Trial(subject, Example(larger, seed=1, noise=1.0))
        meant, layer, _ = there.layer32, subject.built(event), there.latent_event
    except ValueError:
        raise Undecided(f"it refuses to be built for {larger}") from None
    if [v.shape for v in layer.weights] != [v.shape for v in meant.weights]:
        raise Undecided("its weights are made for the places: clause 'wrong size'")
    layer.set_weights(meant.get_weights())
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
