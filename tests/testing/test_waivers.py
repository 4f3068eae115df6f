"""A waiver excuses a broken promise, on the engines that it names, and is an error where nothing is broken."""

import pytest

from flowkit.engines import engine
from flowkit.testing import BrokenPromise, Case, parametrize_bijectors
from tests.testing.wrong_bijectors.log_dets import SignFlip

pytestmark = pytest.mark.one_engine

EVENTS = ((3,),)


def outcome(waived, clause="log-det", **options):
    """What becomes of one item: the name of what it raises, and the message."""
    with pytest.raises((BrokenPromise, pytest.xfail.Exception, pytest.fail.Exception)) as caught:
        Case("flip", SignFlip, EVENTS, waived=waived, **options).check(clause)
    return type(caught.value).__name__, str(caught.value)


HERE, ELSEWHERE = {"log-det": {engine.name: "known"}}, {"log-det": {"another": "known"}}


@pytest.mark.parametrize(
    ("waived", "tolerated", "kind"),
    [
        ({"log-det": "known"}, {}, "XFailed"),
        (HERE, {}, "XFailed"),
        (ELSEWHERE, {}, "BrokenPromise"),
        ({}, HERE, "XFailed"),
        ({}, ELSEWHERE, "BrokenPromise"),
    ],
)
def test_broken_and_waived_on_this_engine_is_an_expected_failure(waived, tolerated, kind):
    found, message = outcome(waived, tolerated=tolerated)
    assert found == kind
    assert message == "known" or kind == "BrokenPromise"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Case("flip", SignFlip, waived={"logdet": "known"}),
        lambda: Case("flip", SignFlip, tolerated={"logdet": "known"}),
        lambda: parametrize_bijectors([SignFlip], clauses=["logdet"]),
        lambda: parametrize_bijectors([SignFlip], waived={"logdet": "known"}),
    ],
)
def test_an_unknown_clause_is_named(make):
    with pytest.raises(ValueError, match="clause: got 'logdet', expected one of"):
        make()


@pytest.mark.parametrize("clause", ["round trip", "wrong rank"])  # the one is kept, the other not asked
def test_a_waiver_that_is_not_needed_fails(clause):
    kind, message = outcome({clause: "known"}, clause)
    assert kind == "Failed"
    assert "waiver not needed" in message
    assert engine.name in message


def test_a_clause_that_is_tolerated_or_waived_elsewhere_may_hold():
    options = {"waived": {"round trip": {"another": "known"}}, "tolerated": {"codomain": "may be"}}
    for clause in ("round trip", "codomain"):
        Case("flip", SignFlip, EVENTS, **options).check(clause)


def test_a_waiver_for_a_whole_list_excuses_those_that_need_it():
    def test(bijector, check): ...

    marked = parametrize_bijectors([SignFlip], clauses=["round trip", "log-det"], waived={"log-det": "known"})
    mark = next(m for m in marked(test).pytestmark if m.name == "parametrize")
    for param in mark.args[1]:
        case, check = param.values
        if "log-det" in param.id:
            with pytest.raises(pytest.xfail.Exception):
                check(case)
        else:
            check(case)
