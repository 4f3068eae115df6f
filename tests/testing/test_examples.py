"""Points of domains, event shapes, and bijectors that Hypothesis draws."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from keras import ops

from flowkit import bijectors as fb
from flowkit.conditioners import MLP
from flowkit.contract import BijectorSpec, Domain
from flowkit.testing import check_bijector
from flowkit.testing.examples import evenly, event_shapes
from flowkit.testing.inputs import points_of
from flowkit.transforms import Additive, Affine, RationalQuadratic

DOMAINS = [
    Domain.REAL,
    Domain.POSITIVE,
    Domain.UNIT_INTERVAL,
    Domain.interval(-3, 2),
    Domain.CIRCLE,
    Domain.SIMPLEX,
    Domain.each(Domain.REAL, Domain.CIRCLE, Domain.circle(0, 24)),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@hypothesis.settings(deadline=None, derandomize=True, database=None, max_examples=20)
@hypothesis.given(st.lists(st.floats(-8, 8, width=32), min_size=6, max_size=6))
def test_points_lie_in_their_domain(domain, numbers):
    x = points_of(domain, np.reshape(numbers, (2, 3))).astype("float32")
    assert x.shape == (2, 3)
    assert domain.contains(ops.convert_to_tensor(x))


def test_event_shapes_fit_the_spec():
    for event in event_shapes(BijectorSpec(event_rank=3, event_multiple=(2, 2, 1))):
        assert len(event) == 3
        assert event[0] % 2 == event[1] % 2 == 0


def test_event_shapes_have_as_many_columns_as_the_domains():
    columns = BijectorSpec(event_rank=1, domain=Domain.each(Domain.REAL, Domain.CIRCLE))
    assert event_shapes(columns) == [(2,)]
    parts = BijectorSpec(event_rank=1, codomain=Domain.SIMPLEX)
    assert event_shapes(parts)[0] == (2,)  # one part alone is 1, whatever comes


def test_even_two_shapes_hold_an_image_that_is_not_square():
    for spec in (BijectorSpec(), BijectorSpec(event_rank=3, event_multiple=(2, 2, 1))):
        *_, (height, width, _) = evenly(event_shapes(spec), 2)
        assert height != width


def chains(max_parts):
    """Draw a `Chain` of up to `max_parts` random bijectors; shrinks to the empty one."""
    number = st.integers(-2, 2).map(float)
    transform = st.sampled_from([Additive(), Affine("tanh"), Affine(), RationalQuadratic(4)])
    network = st.builds(MLP, st.just([4]))
    kinds = [
        st.builds(fb.Shift, number),
        st.builds(fb.Scale, number),
        st.builds(fb.Permute, st.just("reverse")),
        st.builds(fb.Conv1x1, lu=st.booleans(), seed=st.integers(0, 3)),
        st.builds(fb.ActNorm),
        st.builds(fb.Coupling, network, transform=transform, swap=st.booleans()),
    ]
    return st.lists(st.one_of(kinds), max_size=max_parts).map(fb.Chain)


def test_chains_of_random_bijectors_keep_their_promises():
    report = check_bijector(chains(3), clauses=["round trip", "log-det"], event_shapes=[(3,)], examples=32)
    assert report
