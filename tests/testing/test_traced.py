"""A layer that cannot be compiled is told its line and what to write there, whichever clause compiles it first."""

import pytest

from flowkit.engines import engine
from flowkit.testing import check_bijector
from tests.testing.wrong_bijectors.precisions import BranchesOnAValue


@pytest.fixture(scope="module")
def broken():
    report = check_bijector(BranchesOnAValue, event_shapes=[(3,)], examples=4, raises=False)
    (broken,) = report.broken  # once, however many clauses meet it
    return broken


def test_the_line_is_the_authors(broken):
    assert "precisions.py:17" in str(broken.error)
    assert "`if ops.sum(x) > 1e9:`" in str(broken.error)


def test_what_to_write_there(broken):
    assert "ops.where, ops.cond" in str(broken.error)


def test_the_engines_own_words_are_left_out(broken):
    assert "_error_repr" not in str(broken.error)
    assert "in user code" not in str(broken.error)
    assert len(broken.reason) < 250


@pytest.mark.skipif(engine.name != "torch", reason="the other engines stop at each value")
def test_a_graph_in_pieces_is_told(broken):
    assert broken.clause == "compiled"
    assert "in one piece" in broken.reason
