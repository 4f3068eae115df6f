"""Hypothesis strategies, for the checker and for authors' own properties."""

import hypothesis.strategies as st

from flowkit.testing.event_shapes import event_shapes as candidates
from flowkit.testing.example import Example

_PLAIN = st.integers(-3, 3).map(float)
_REAL = st.floats(-8, 8, width=32, allow_subnormal=False)
_FAR = st.sampled_from([0.0, 1e-6, -1e-3, 30.0, -30.0, 100.0, -1000.0])


def examples(events):
    """An `Example` for one of the `events`; shrinks to the first event, few values, whole numbers, no noise."""
    return st.builds(
        Example,
        event=st.sampled_from(list(events)),
        seed=st.integers(0, 7),
        noise=st.sampled_from([0.0, 1.0, 0.1, 6.0]),
        values=st.lists(st.one_of(_PLAIN, _REAL, _FAR), min_size=1, max_size=6).map(tuple),
    )


def event_shapes(spec):
    """An event shape that a spec allows; shrinks to the smallest."""
    return st.sampled_from(candidates(spec))
