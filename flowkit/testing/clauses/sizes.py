"""What a layer learns of an event's size is not for good: its places are those of the data."""

import numpy as np

from flowkit.testing.clauses.clause import clause
from flowkit.testing.given.example import Example
from flowkit.testing.given.trial import Trial
from flowkit.testing.verdicts.broken import Broken, Undecided, unlike


def _unless_places_are_free(subject):
    if subject.spec.fixed_axes == "all":
        return "the spec fixes all axes"
    return None if any(len(event) > 1 for event in subject.events) else "vectors have channels alone"


@clause(
    "other places",
    "a layer that takes events of more places than it was built for answers as one that was built for them",
    hint="The number of places, height * width, is that of x.shape in _forward and z.shape in _inverse, not of build.",
    per="once",
    applies=_unless_places_are_free,
)
def other_places(trial):
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
    asked = False
    for inverse, points in there.directions:
        side = "inverse" if inverse else "forward"
        expected = there.call32(points, there.context, inverse)
        try:
            received = there.call32(points, there.context, inverse, layer=layer)
        except ValueError:  # which is a proper way to refuse them
            continue
        asked = True
        for name, a, b in zip(("output", "log_det"), expected, received, strict=True):
            if not np.array_equal(a, b, equal_nan=True):
                raise Broken(
                    f"the same {name} of {side} for events of shape {larger}, built for them or for {event}",
                    unlike(a, b, points),
                )
    if not asked:
        raise Undecided("it refuses other places than it was built for")
