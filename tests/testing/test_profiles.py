"""The profiles: what each asks, what it says of its time."""

from types import SimpleNamespace

import pytest

from flowkit.bijectors import ActNorm, Shift
from flowkit.testing import check_bijector, parametrize_bijectors
from flowkit.testing.checker import profile_of
from flowkit.testing.clauses import CLAUSES
from flowkit_pytest import pytest_terminal_summary
from tests.testing.wrong_bijectors.log_dets import SignFlip

pytestmark = pytest.mark.one_engine

FAST = profile_of("fast").clauses


def test_fast_asks_round_trips_log_dets_and_float32_alone():
    report = check_bijector(ActNorm, profile="fast", examples=2)
    assert [result.clause for result in report.results] == list(FAST)
    assert all(result.verdict == "kept" for result in report.results)
    assert not check_bijector(SignFlip, profile="fast", raises=False)


@pytest.mark.parametrize(
    "call",
    [lambda: check_bijector(Shift, profile="brief"), lambda: parametrize_bijectors([Shift], profile="brief")],
)
def test_another_profile_is_refused_by_name(call):
    with pytest.raises(ValueError, match=r"profile: got 'brief', expected one of 'fast', 'full', 'thorough'"):
        call()


@pytest.mark.parametrize(
    ("session", "options", "count"),
    [
        ("fast", {}, len(FAST)),
        ("full", {}, len(CLAUSES)),
        ("fast", {"profile": "full"}, len(CLAUSES)),
        ("full", {"profile": "fast"}, len(FAST)),
        ("fast", {"clauses": ["purity"]}, 1),
    ],
)
def test_a_session_has_a_profile_unless_the_module_says_one(session, options, count, monkeypatch):
    monkeypatch.setenv("FLOWKIT_BIJECTOR_PROFILE", session)

    @parametrize_bijectors([Shift], **options)
    def test(bijector, check): ...

    (mark,) = [mark for mark in test.pytestmark if mark.name == "parametrize"]
    assert len(mark.args[1]) == count


def test_the_summary_names_the_slowest_bijectors_and_their_slowest_clauses():
    def report(bijector, clause, duration):
        return SimpleNamespace(user_properties=[("bijector_contract", [bijector, clause])], duration=duration)

    lines = []
    terminal = SimpleNamespace(
        stats={
            "passed": [report("a", "purity", 1.0), report("b", "purity", 2.0)],
            "": [report("b", "config", 3.0)],
        },
        section=lines.append,
        line=lines.append,
    )
    config = SimpleNamespace(getoption=lambda name: "full")
    pytest_terminal_summary(terminal, config)
    assert lines[1:] == ["b: 5.0 (config 3.0, purity 2.0)", "a: 1.0 (purity 1.0)"]
