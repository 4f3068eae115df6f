"""Points of domains, and event shapes."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from keras import ops

from flowkit.contract import BijectorSpec, Domain
from flowkit.testing.examples import evenly, event_shapes
from flowkit.testing.inputs import points_of

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
    for height, width, _ in event_shapes(BijectorSpec(event_rank=3, event_multiple=(2, 2, 1))):
        assert height % 2 == width % 2 == 0
    columns = BijectorSpec(event_rank=1, domain=Domain.each(Domain.REAL, Domain.CIRCLE))
    assert event_shapes(columns) == [(2,)]
    parts = BijectorSpec(event_rank=1, codomain=Domain.SIMPLEX)
    assert event_shapes(parts)[0] == (2,)  # one part alone is 1, whatever comes


def test_even_two_shapes_hold_an_image_that_is_not_square():
    for spec in (BijectorSpec(), BijectorSpec(event_rank=3, event_multiple=(2, 2, 1))):
        *_, (height, width, _) = evenly(event_shapes(spec), 2)
        assert height != width
