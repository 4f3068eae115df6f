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


def test_broken_and_waived_is_an_expected_failure():
    assert outcome({"log-det": "known"}) == ("XFailed", "known")


def test_a_waiver_for_this_engine_alone():
    assert outcome({"log-det": {engine.name: "known"}}) == ("XFailed", "known")


def test_a_tolerance_may_name_engines_too():
    here, elsewhere = {"log-det": {engine.name: "known"}}, {"log-det": {"another": "known"}}
    assert outcome({}, tolerated=here) == ("XFailed", "known")
    assert outcome({}, tolerated=elsewhere)[0] == "BrokenPromise"


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


def test_a_waiver_for_another_engine_does_not_help():
    assert outcome({"log-det": {"another": "known"}})[0] == "BrokenPromise"


@pytest.mark.parametrize("clause", ["round trip", "wrong rank"])  # the one is kept, the other not asked
def test_a_waiver_that_is_not_needed_fails(clause):
    kind, message = outcome({clause: "known"}, clause)
    assert kind == "Failed"
    assert "waiver not needed" in message
    assert engine.name in message


def test_a_waiver_for_another_engine_is_not_judged_here():
    Case("flip", SignFlip, EVENTS, waived={"round trip": {"another": "known"}}).check("round trip")


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


def test_a_tolerated_clause_may_hold():
    Case("flip", SignFlip, EVENTS, tolerated={"round trip": "may be"}).check("round trip")
