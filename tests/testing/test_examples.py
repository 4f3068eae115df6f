"""Points of domains, and event shapes."""

from flowkit.contract import BijectorSpec, Domain
from flowkit.testing.examples import evenly, event_shapes


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
