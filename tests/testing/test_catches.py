"""The checker is tested by its catches: every wrong bijector is caught by the clause that is meant for it."""

import pytest

from flowkit.testing import BrokenPromise, check_bijector
from tests.testing.wrong_bijectors import WRONG


@pytest.mark.parametrize(("case", "clause"), WRONG, ids=[case.name for case, _ in WRONG])
def test_caught_by_the_clause_meant_for_it(case, clause):
    with pytest.raises(BrokenPromise) as caught:
        check_bijector(
            case.make, event_shapes=case.event_shapes, context=case.context, examples=12, clauses=[clause]
        )
    assert caught.value.clause == clause


def test_there_are_many():
    assert len(WRONG) >= 60
    assert len({case.name for case, _ in WRONG}) == len(WRONG)
