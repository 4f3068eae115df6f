"""How the checker is called: reports, replays, drawn arguments, parity, the command."""

import importlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest

from flowkit.app import main
from flowkit.bijectors import ActNorm, Scale, Shift
from flowkit.contract import ContractError
from flowkit.engines import engine
from flowkit.testing import BrokenPromise, Example, check_bijector, check_parity
from flowkit.testing.clauses import CLAUSES
from flowkit.testing.processes import compare, report
from tests.testing import things
from tests.testing.wrong_bijectors.log_dets import SignFlip, WrongFarOut

pytestmark = pytest.mark.one_engine

ROOT = Path(__file__).parents[2]
USAGE = 2  # the command's exit code
QUICK = {"event_shapes": [(2,)], "examples": 4}


@pytest.mark.two_engines
def test_a_report_names_every_clause_and_is_true_where_all_is_kept():
    """Also where warnings are errors, which break no promise."""
    layer = ActNorm()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_bijector(layer, **QUICK)
    assert report
    assert [result.clause for result in report.results] == list(CLAUSES)
    assert "ActNorm 'act_norm" in str(report)
    assert json.loads(json.dumps(report.as_dict()))["kept"] is True
    assert not layer.built  # copies were checked


def _raised(make, **options):
    with pytest.raises(BrokenPromise) as caught:
        check_bijector(make, clauses=["log-det"], **options)
    return caught.value


@pytest.mark.parametrize(
    ("make", "event"),
    [
        (SignFlip, (2,)),
        (lambda draw: SignFlip(draw(st.integers(0, 3))), (2,)),
        (st.builds(SignFlip, st.integers(0, 3).map(float)), (2,)),
        (lambda draw: SignFlip(draw(st.just((float("inf"), 1.0)))[1]), (2,)),
        (lambda draw: things.WrongAfter(draw(st.one_of(st.builds(Shift), st.builds(Scale)))), (3,)),
    ],
    ids=["one", "drawn number", "strategy", "no literal", "drawn layers"],
)
def test_an_error_has_the_evidence_and_a_line_that_replays_it(make, event):
    once = _raised(make, examples=4, event_shapes=[event])
    assert once.clause == "log-det"
    assert once.measured > once.allowed
    assert once.conditioning >= 1
    if make is SignFlip:
        assert once.hint == "The sign is the other one."
    line = next(text for text in str(once).splitlines() if "replay:" in text).partition("replay:")[2]

    def check(given, clauses, **call):
        return _raised(make, **call)

    again = eval(line, {"check_bijector": check, "Example": Example})
    for name in ("clause", "measured", "example", "config", "replay"):
        assert getattr(again, name) == getattr(once, name)


def test_a_failure_shrinks_to_the_smallest_event_and_numbers_and_no_other_example_breaks_it():
    example = _raised(WrongFarOut, event_shapes=[(1,), (2,), (5,)], examples=12).example
    assert example.event == (1,)
    assert example.noise == 0
    assert 4 < max(map(abs, example.values)) < 4.1  # it is right up to 4
    assert check_bijector(WrongFarOut, clauses=["log-det"], replay=Example((2,), values=(1.0,)))


def test_a_clause_that_one_draw_asked_is_kept_and_that_none_asked_is_not():
    strategy = st.sampled_from([Scale, ActNorm]).map(lambda kind: kind())
    report = check_bijector(strategy, clauses=["adaptation", "noise"], examples=40, event_shapes=[(2,)])
    assert (report["adaptation"].verdict, report["adaptation"].examples) == ("kept", 1)
    assert (report["noise"].verdict, report["noise"].reason) == ("not asked", "nothing is drawn")


def test_what_a_config_forgets_is_drawn_all_the_same():
    values = []

    def make(draw):
        values.append(draw(st.integers(0, 5)))
        return things.Forgetful(float(values[-1]))

    report = check_bijector(make, event_shapes=[(2,)], clauses=["config"], raises=False)
    assert len(set(values)) > 1
    assert [result.verdict for result in report.results] == ["broken"]


HALF = "got replay=.* and drawn=.*, expected both for a drawn bijector"
BLOB = r"drawn: got b'.*', expected the blob in a report of this bijector"
CLOSED = r"TypeError: .* unexpected keyword argument.*`super\(\).__init__\(\*\*kw"
SUMMED = r"a log-derivative for each entry, shape \(\d+, 3\),.*received shape \(\d+,\)"
UNDECLARED = r"broke 'finite'.*declare it: spec = BijectorSpec\(codomain="


def drawn_shift(draw):
    return Shift(float(draw(st.integers(0, 5))))


@pytest.mark.parametrize(
    ("check", "make", "options", "error", "says"),
    [
        (check_bijector, lambda: things.Forgetful(2.0), {"clauses": ["config"]}, ContractError, "private"),
        (check_bijector, things.Silent, {}, ContractError, "config.*makes again.*nothing to tell"),
        (check_bijector, lambda: things.Closed(2.0), {}, ContractError, CLOSED),
        (check_bijector, things.Summed, {"event_shapes": [(3,)]}, ContractError, SUMMED),
        (check_bijector, things.Undeclared, {"clauses": ["finite"]}, ContractError, UNDECLARED),
        *(
            (check_bijector, lambda: drawn_shift, {"replay": Example((2,)), "drawn": blob}, ValueError, BLOB)
            for blob in (b"", b"AXic", b"no blob at all")
        ),
        (check_bijector, lambda: drawn_shift, {"drawn": b"AXic"}, ValueError, HALF),
        (check_bijector, lambda: drawn_shift, {"replay": Example((2,))}, ValueError, HALF),
        (
            check_bijector,
            Scale,
            {"context": {"a": 3}},
            TypeError,
            r"context: got \{'a': 3\}, expected the shape",
        ),
        (check_parity, lambda: things.coupling, {"context": {"a": 3}}, TypeError, "context"),
        (
            check_parity,
            lambda: things.coupling,
            {"event_shape": 3},
            TypeError,
            "event_shape: got 3, expected",
        ),
        (check_parity, lambda: lambda: Scale(), {}, ValueError, "top of a module"),
        (check_parity, Scale, {}, TypeError, "a function or class"),
    ],
)
def test_a_bad_call_is_refused(check, make, options, error, says):
    with pytest.raises(error, match=says):
        check(make(), **options)


@pytest.mark.parametrize("make", [things.Slip, things.SlipInBuild])
def test_an_error_is_reported_once_with_its_line(make):
    report = check_bijector(make, raises=False, **QUICK)
    (broken,) = report.broken
    assert broken.clause == "log-det shape"
    message = str(broken.error)
    assert "has no attribute" in message
    assert f"{Path(things.__file__).name}:" in message
    assert CLAUSES["log-det shape"].hint not in message
    assert "\x1b" not in message
    others = [result for result in report.results if "raises" in result.reason and result is not broken]
    assert len(others) > 12
    assert all(result.reason.endswith("see 'log-det shape'") for result in others)
    report = check_bijector(
        make, waived={"log-det shape": "known"}, clauses=["log-det shape", "log-det"], raises=False
    )
    assert [result.verdict for result in report.results] == ["waived", "broken"]


@pytest.mark.two_engines
def test_an_error_in_one_direction_hides_no_other_promise():
    clauses = [name for name in CLAUSES if name != "compiled"]
    report = check_bijector(things.SlipInInverse, raises=False, clauses=clauses, **QUICK)
    assert report["codomain"].verdict == "kept"
    assert [result.clause for result in report.broken] == ["log-det shape", "log-det"]


@pytest.mark.long
def test_engines_agree_and_one_that_does_not_is_caught():
    answers = check_parity(things.coupling, ("jax", "torch"))
    jax, torch = answers["jax"], answers["torch"]
    assert jax["forward output"].shape == (3, *torch["event"])
    kinds = ("output", "log-det", "gradient")
    for what in [
        name for name in torch if not name.endswith("error") and any(kind in name for kind in kinds)
    ]:
        assert np.abs(torch[what]).max() > 0
        with pytest.raises(ContractError, match=f"expected {what} as on jax.* on torch"):
            compare("coupling", "jax", jax, "torch", {**torch, what: torch[what] + 1e-3})


@pytest.mark.long
def test_the_command_prints_what_is_kept_as_json(capsys):
    """What is broken: tests/app/test_commands.py."""
    target = "tests/testing/things.py:Right"
    assert main(["check", target, "--backends", engine.name, "--profile", "fast", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] is True


STOPPED = f"the check on {engine.name} stopped: ValueError: no (FLOWKIT_DEBUG=1 shows where)"


@pytest.mark.parametrize(
    ("code", "out", "error", "message"),
    [
        (1, "", 'File "gone.py", line 3\n\nValueError: no', STOPPED),
        (0, '\n{"misused": "it has no Thing"}', "a warning", "it has no Thing"),
    ],
)
def test_the_command_prints_why_there_is_no_report(code, out, error, message, capsys, monkeypatch):
    process = SimpleNamespace(returncode=code, stdout=out, stderr=error)
    monkeypatch.setattr(importlib.import_module("flowkit.app.check"), "run_on", lambda *args: process)
    assert main(["check", "tests/testing/things.py:Thing", "--backends", engine.name]) == USAGE
    answer = capsys.readouterr()
    assert (answer.out, answer.err) == ("", f"flowkit: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x:"], "MODULE:NAME: got 'x:', expected"),
        (["no_such_module:Thing"], "MODULE:NAME: got 'no_such_module:Thing', expected"),
        (["tests/no_file.py:Thing"], "MODULE:NAME: got 'tests/no_file.py:Thing', expected"),
        ([".things:Thing"], "MODULE:NAME: got '.things:Thing', expected"),
        (["os:x", "--backends", "fortran"], "KERAS_BACKEND: got 'fortran', expected one of jax"),
    ],
)
def test_the_command_refuses_a_bad_name_before_a_backend_loads(arguments, says, capsys):
    assert main(["check", *arguments]) == USAGE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (":", "a bijector's name: got ':', expected package.module:Name or file.py:Name."),
        ("nowhere.py:Thing", "no file 'nowhere.py'"),
        ("no.such:Thing", "cannot import 'no.such': No module named 'no'"),
        ("tests.testing.things:Rihgt", "'tests.testing.things' has no 'Rihgt'; did you mean 'Right'?"),
        ("tests.testing.things:Closed", "'tests.testing.things:Closed': got a class with arguments"),
        ("os:system", "'os:system': got a builtin_function_or_method, expected a Bijector or Surjection"),
        ("tests.testing.things:engine_of", "'tests.testing.things:engine_of': got a function, expected"),
        ("flowkit.distributions:Normal", "'flowkit.distributions:Normal': got the class Normal, expected"),
    ],
)
def test_an_engines_process_prints_what_it_does_not_find(target, message, capsys):
    assert misuse(target, capsys).startswith(message)


def misuse(target, capsys):
    """Return the message of an engine's part of `flowkit check`, which runs in a process of its own."""
    report(target, "{}")
    (line,) = capsys.readouterr().out.strip().splitlines()
    return json.loads(line)["misused"]


def test_a_file_with_the_name_of_another_module_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "json.py").write_text("def Right(): ...")
    assert "got the name of another module" in misuse(f"{tmp_path / 'json.py'}:Right", capsys)


def test_without_hypothesis_the_command_prints_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    assert main(["check", "os:b"]) == USAGE
    advice = "flowkit.testing needs hypothesis: in flowkit's clone run pip install -e '.[testing]'"
    assert capsys.readouterr().err == f"flowkit: {advice}\n"


def test_the_plugin_imports_neither_flowkit_nor_keras():
    code = "import flowkit_pytest, sys; print('flowkit' in sys.modules, 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


_CONTRACTS = """
import flowkit
from flowkit import testing
from tests.testing import things

@testing.parametrize_bijectors([things.Right, things.RightOnlyHere], clauses=["log-det"])
def test_mine(bijector, check):
    check(bijector)

def test_of_something_else():
    pass
"""


@pytest.mark.long
def test_the_plugin_runs_contracts_on_other_engines(tmp_path):
    here, other = engine.name, "torch" if engine.name != "torch" else "jax"
    path = tmp_path / "test_mine.py"
    path.write_text(_CONTRACTS)
    pytest_ = [sys.executable, "-m", "pytest", "-p", "flowkit_pytest", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [*pytest_, str(path), "--bijector-backends", f"{here},{other}", "--bijector-examples", "2"],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": here, "THINGS_HERE": here, "PYTHONPATH": str(ROOT)},
    )
    first, _, second = done.stdout.partition(f"bijector contracts on {other}")
    assert "3 passed" in first
    assert "1 failed, 1 passed, 1 deselected" in second
    assert done.returncode == 1
