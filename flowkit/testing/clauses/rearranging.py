"""What says that it only rearranges moves entries, and leaves their values."""

import numpy as np

from flowkit.testing.clauses.clause import clause
from flowkit.testing.verdicts.broken import Broken, point


@clause(
    "rearranges",
    "both directions give the very numbers that they were given, in other places, if the spec says that it rearranges",
    hint="rearranges=True lets any domain through a Chain: take it out of the spec of a map that changes values.",
    per="event",
    applies=lambda subject: None if subject.spec.rearranges else "the spec does not say that it rearranges",
)
def rearranges(trial):
    for inverse, points in trial.directions:
        value = trial.run64(points, inverse)[0]
        given, found = (np.sort(rows.reshape(len(points), -1), axis=1) for rows in (points, value))
        same = given.shape == found.shape and (given == found).all(axis=1)
        if not np.all(same):
            row = int(np.argmin(same)) if given.shape == found.shape else 0
            side = "inverse" if inverse else "forward"
            raise Broken(
                f"the numbers of {point(points[row])} in other places from {side}",
                point(value[row]),
                sample=row,
            )
