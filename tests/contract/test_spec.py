"""BijectorSpec: its words, and how it composes."""

import pytest

from flowkit.contract import BijectorSpec, Domain
from flowkit.contract.spec import composed, weakest

pytestmark = pytest.mark.one_engine


def test_read_backwards_the_sets_change_places_and_the_shapes_are_unknown():
    spec = BijectorSpec(
        event_rank=3,
        event_multiple=(2, 2, 1),
        domain=Domain.POSITIVE,
        codomain=Domain.UNIT_INTERVAL,
        log_det="constant",
        inverse="iterative",
        context="required",
        round_trip=7.0,
    )
    back = spec.inverted()
    assert (back.domain, back.codomain) == (Domain.UNIT_INTERVAL, Domain.POSITIVE)
    assert back.event_rank is back.event_multiple is None
    assert (back.forward, back.inverse, back.round_trip) == ("iterative", "analytic", 7.0)
    assert back.inverted().inverse == "iterative"


@pytest.mark.parametrize(
    ("words", "field", "kept"),
    [
        (["zero", "constant"], "log_det", "constant"),
        (["varying", "zero", "constant"], "log_det", "varying"),
        (["analytic", "iterative"], "inverse", "iterative"),
        (["sequential", "analytic"], "inverse", "sequential"),
        (["iterative", "sequential"], "forward", "iterative"),
        (["none", "optional"], "context", "optional"),
        (["required", "optional", "none"], "context", "required"),
        ([], "log_det", "zero"),
        ([], "context", "none"),
    ],
)
def test_together_parts_promise_what_the_weakest_does(words, field, kept):
    assert weakest([BijectorSpec(**{field: word}) for word in words], field) == kept


@pytest.mark.parametrize(
    ("specs", "total"),
    [
        ([], None),
        ([BijectorSpec(), BijectorSpec()], None),
        ([BijectorSpec(round_trip=3), BijectorSpec(), BijectorSpec(round_trip=4)], 7),
        ([BijectorSpec(inverse="iterative"), BijectorSpec(forward="iterative", round_trip=4)], 20),
    ],
)
def test_round_trip_errors_add_up(specs, total):
    assert composed(specs)["round_trip"] == total
