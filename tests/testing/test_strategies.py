"""The strategies that authors use for properties of their own."""

import hypothesis
import numpy as np
from hypothesis import given
from keras import ops

from flowkit.contract import BijectorSpec, Domain
from flowkit.testing import check_bijector, strategies
from flowkit.testing.examples import evenly
from flowkit.testing.examples import event_shapes as candidates

SETTINGS = hypothesis.settings(deadline=None, derandomize=True, database=None, max_examples=20)
DOMAINS = [
    Domain.REAL,
    Domain.POSITIVE,
    Domain.UNIT_INTERVAL,
    Domain.interval(-3, 2),
    Domain.CIRCLE,
    Domain.SIMPLEX,
    Domain.each(Domain.REAL, Domain.CIRCLE, Domain.circle(0, 24)),
]


@SETTINGS
@given(hypothesis.strategies.data(), hypothesis.strategies.sampled_from(DOMAINS))
def test_points_lie_in_their_domain(data, domain):
    x = data.draw(strategies.points(domain, (2, 3)))
    assert x.shape == (2, 3)
    assert x.dtype == np.float32
    assert domain.contains(ops.convert_to_tensor(x))


@SETTINGS
@given(strategies.event_shapes(BijectorSpec(event_rank=3, event_multiple=(2, 2, 1))))
def test_event_shapes_fit_the_spec(event):
    assert len(event) == 3
    assert event[0] % 2 == event[1] % 2 == 0


def test_event_shapes_have_as_many_columns_as_the_domains():
    columns = BijectorSpec(event_rank=1, domain=Domain.each(Domain.REAL, Domain.CIRCLE))
    assert candidates(columns) == [(2,)]
    parts = BijectorSpec(event_rank=1, codomain=Domain.SIMPLEX)
    assert candidates(parts)[0] == (2,)  # one part alone is 1, whatever comes


def test_even_two_shapes_hold_an_image_that_is_not_square():
    for spec in (BijectorSpec(), BijectorSpec(event_rank=3, event_multiple=(2, 2, 1))):
        *_, (height, width, _) = evenly(candidates(spec), 2)
        assert height != width


def test_chains_of_random_bijectors_keep_their_promises():
    report = check_bijector(
        strategies.chains(3), clauses=["round trip", "log-det"], event_shapes=[(3,)], examples=32
    )
    assert report
