"""No gap and no fold where one piece of a map ends and the next begins."""

import numpy as np

from flowkit.testing.clauses import round_trip
from flowkit.testing.clauses.clause import clause
from flowkit.testing.given import contexts
from flowkit.testing.given.example import ROWS
from flowkit.testing.given.leading import leading
from flowkit.testing.given.points import difference, points_of
from flowkit.testing.given.tolerances import split
from flowkit.testing.verdicts.broken import Broken, Undecided, point

REACH = 8.0
"""A line through the domain goes from minus this to this, in each entry at once."""

STEPS, PLACES = 1025, 2
"""Into how many steps each look cuts, and at how many places the second look is."""

_HINT = "A last knot, a bound or a floor of the bins may be off: where two pieces meet, both must give the same number."


def _applies(subject):
    if not isinstance(leading(subject), tuple) or any(subject.forgets(inverse=i) for i in (False, True)):
        return "a direction forgets something"
    if subject.spec.noise != "none":
        return "it is given noise"
    return "whole numbers have no beside" if subject.spec.domain.kind == "whole" else None


@clause(
    "gaps",
    "the round trips hold beside the places where a direction jumps most along a line, and for what lies between",
    hint=_HINT,
    per="event",
    applies=_applies,
    needs_inverse=True,
    needs_forward=True,
)
def gaps(trial):
    inverse, _ = leading(trial.subject)
    trial = trial.again(context=contexts.rows(trial.context, [0] * ROWS))  # one map along all of the line
    judged = False
    for beside, between in _jumps(trial, inverse):
        ends = trial.again(**{"z" if inverse else "x": beside})
        inner = trial.again(**{"x" if inverse else "z": between})
        for probe, promise in (
            (ends, round_trip.from_codomain if inverse else round_trip.from_domain),
            (inner, round_trip.from_domain if inverse else round_trip.from_codomain),
        ):
            try:
                promise.check(probe)
                judged = True
            except Undecided:
                continue
            except Broken as found:
                side = "inverse" if inverse else "forward"
                found.hint = (
                    f"There {side} jumps, by {np.max(np.abs(between[-1] - between[0])):.3g}, between "
                    f"{point(beside[0])} and {point(beside[1])}. {_HINT}"
                )
                raise
    if not judged:
        raise Undecided


def _jumps(trial, inverse):
    """(points on both sides of it, outputs within it), ROWS each, for each of the `PLACES` that jump most."""
    event = trial.latent_event if inverse else trial.event
    domain, image = trial.domain(inverse), trial.domain(not inverse)

    def line(t):
        return points_of(domain, np.repeat(t, np.prod(event)).reshape(-1, *event))

    def along(t):
        context = contexts.rows(trial.context, [0] * len(t))
        return trial.run64(line(t), inverse, context)[0]

    def jumps(value):
        """How far each step goes beyond those beside it: where a slope changes, one of the two goes as far."""
        with np.errstate(invalid="ignore"):
            steps = difference(image, value[1:], value[:-1]).reshape(len(value) - 1, -1)
            aside = np.minimum(np.abs(steps[1:-1] - steps[:-2]), np.abs(steps[1:-1] - steps[2:]))
        return np.nan_to_num(aside, nan=0.0, posinf=0.0).max(axis=1)

    t = np.linspace(-REACH, REACH, PLACES * STEPS)
    places = 1 + np.argsort(jumps(along(t)))[: -PLACES - 1 : -1]
    closer = np.stack([np.linspace(t[i], t[i + 1], STEPS) for i in places])
    for t, value in zip(closer, split(along(closer.ravel()), STEPS), strict=True):
        i = 1 + int(np.argmax(jumps(value)))
        # So far from it that what measures errors does not step over it.
        aside = max(t[1] - t[0], 4 * np.sqrt(trial.eps) * max(1, abs(t[i])))
        beside = line(np.array([t[i] - aside, t[i + 1] + aside, t[i] - 8 * aside]))
        yield beside, np.stack([value[i] + share * (value[i + 1] - value[i]) for share in (0.25, 0.5, 0.75)])
