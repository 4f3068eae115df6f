"""The checker is tested by its catches: each wrong bijector is caught by the clause meant for it, for its mistake."""

import pytest

from flowkit.testing import BrokenPromise, check_bijector, checker
from flowkit.testing.clauses import CLAUSES
from tests.testing.wrong_bijectors import WRONG

# A second or two of a compiler each, or many solved equations: others of their clauses take less.
LONG = {"CountsByAValue", "DivergenceAtTheWrongPoint", "EstimatedAtTheLatent", "PythonNumber"}
MARKED = [pytest.param(one, marks=pytest.mark.long if str(one) in LONG else ()) for one in WRONG]


@pytest.mark.wide.with_args(lambda case: case["mistake"].clause)
@pytest.mark.parametrize("mistake", MARKED, ids=str)
def test_caught_by_the_clause_meant_for_it(mistake, monkeypatch):
    monkeypatch.setattr(checker, "_SHRINKS", 8)  # smaller examples: test_entry_points.py
    case = mistake.case
    with pytest.raises(BrokenPromise) as caught:
        check_bijector(
            case.make,
            event_shapes=case.event_shapes,
            context=case.context,
            examples=12,
            clauses=[mistake.clause],
        )
    found = caught.value
    assert found.clause == mistake.clause
    # An error that the mistake raises by accident is no catch: there is a number, or the words that are its own.
    if found.measured is not None:
        assert found.measured > found.allowed
    else:
        assert mistake.says is not None, found
        assert mistake.says in f"{found.expected}, {found.received}"


def test_each_clause_has_a_mistake_to_catch():
    assert {mistake.clause for mistake in WRONG} == set(CLAUSES)
    assert len({mistake.case.name for mistake in WRONG}) == len(WRONG)
