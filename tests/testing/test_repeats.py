"""A `Repeat` keeps the promises of its block, and those of its own."""

import pytest

from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling, Repeat, Scale, Shift, Squeeze
from flowkit.conditioners import MLP, ConvNet
from flowkit.testing import Case, check_bijector, parametrize_bijectors

pytestmark = pytest.mark.one_engine

REPEATED = [
    Case("vectors", lambda: Repeat(Chain([ActNorm(), Conv1x1(), Coupling(MLP([4]))]), 3), ((4,),)),
    Case("images", lambda: Chain([Squeeze(), Repeat(Coupling(ConvNet(2)), 2), Conv1x1()]), ((2, 4, 1),)),
    Case("with a context", lambda: Repeat(Coupling(MLP([4], context="required")), 2), ((3,),)),
    Case("in a repeat", lambda: Repeat(Chain([Shift(), Repeat(Scale(), 2)]), 2), ((2,),)),
]


# What a Repeat has of its own; tests/cases.py asks the rest of layers that hold one.
CLAUSES = [
    "log-det shape",
    "round trip",
    "log-det",
    "output gradient",
    "purity",
    "adaptation",
    "saving",
    "repeat",
]


@parametrize_bijectors(REPEATED, clauses=CLAUSES)
def test_no_alarm(bijector, check):
    check(bijector)


def test_the_clause_is_judged_where_a_repeat_is_inside():
    for case in REPEATED:
        assert case.run("repeat").verdict == "kept", case.run("repeat")
    report = check_bijector(Scale, clauses=["repeat"], event_shapes=[(2,)])
    assert report["repeat"].reason == "nothing in it is a Repeat"
