"""Hypothesis strategies, for the checker and for authors' own properties."""

import hypothesis.strategies as st
import numpy as np

from flowkit import bijectors as fb
from flowkit.conditioners import MLP
from flowkit.testing.examples import SCALES, Example
from flowkit.testing.examples import event_shapes as candidates
from flowkit.testing.points import points_of
from flowkit.transforms import Additive, Affine, RationalQuadratic

_PLAIN = st.integers(-3, 3).map(float)
_REAL = st.floats(-8, 8, width=32, allow_subnormal=False)
_FAR = st.sampled_from([0.0, 1e-6, -1e-3, 30.0, -30.0, 100.0, -1000.0])


def examples(events):
    """Draw an `Example` for one of `events`; shrinks to the first event, few whole values, no noise, scales of 1."""
    return st.builds(
        Example,
        event=st.sampled_from(list(events)),
        seed=st.integers(0, 7),
        noise=st.sampled_from([0.0, 1.0, 0.1, 6.0]),
        values=st.lists(st.one_of(_PLAIN, _REAL, _FAR), min_size=1, max_size=6).map(tuple),
        scales=st.lists(st.sampled_from(SCALES), min_size=1, max_size=4).map(tuple),
    )


def event_shapes(spec):
    """Draw an event shape that a spec allows; shrinks to the smallest."""
    return st.sampled_from(candidates(spec))


def points(domain, shape):
    """Draw a float32 array (batch, *event) of points strictly inside `domain`; shrinks to the image of zeros.

    Its numbers are drawn one by one up to 6 of them and repeated, so that they can shrink.
    """

    def made(values):
        t = np.resize(np.asarray(values, "float64"), shape)
        return points_of(domain, t).astype("float32")

    return st.lists(st.one_of(_PLAIN, _REAL), min_size=1, max_size=6).map(made)


def bijectors(*, vectors=True):
    """Draw an unbuilt bijector of flowkit from the real line onto itself, for events of 2 channels or more.

    `vectors=False` leaves out those that only take vectors. Shrinks to a shift by 0.
    """
    number = st.integers(-2, 2).map(float)
    kinds = [
        st.builds(fb.Shift, number),
        st.builds(fb.Scale, number),
        st.builds(fb.Permute, st.just("reverse")),
        st.builds(fb.Conv1x1, lu=st.booleans(), seed=st.integers(0, 3)),
        st.builds(fb.ActNorm),
    ]
    if vectors:
        transform = st.sampled_from([Additive(), Affine("tanh"), Affine(), RationalQuadratic(4)])
        network = st.builds(MLP, st.just([4]))
        kinds.append(st.builds(fb.Coupling, network, transform=transform, swap=st.booleans()))
    return st.one_of(kinds)


def chains(max_parts=4, **options):
    """Draw a `Chain` of up to `max_parts` random bijectors; shrinks to the empty one."""
    return st.lists(bijectors(**options), max_size=max_parts).map(fb.Chain)
