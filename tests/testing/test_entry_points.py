"""How the checker is asked: reports, replays, drawn arguments, parity, the command."""

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
    report = check_bijector(Scale(), **QUICK)
    assert report
    assert [result.clause for result in report.results] == list(CLAUSES)
    assert "Scale 'scale" in str(report)
    assert json.loads(json.dumps(report.as_dict()))["kept"] is True


def test_an_error_has_the_evidence():
    with pytest.raises(ContractError) as caught:
        check_bijector(SignFlip, clauses=["log-det"], **QUICK)
    error = caught.value
    assert error.clause == "log-det"
    assert error.measured > error.allowed
    assert error.conditioning >= 1
    assert "replay" in str(error)
    assert "SignFlip(" in str(error)
    assert error.hint == "The sign is the other one."


def test_the_replayed_example_breaks_the_clause_and_no_other_one():
    with pytest.raises(ContractError) as caught:
        check_bijector(WrongFarOut, clauses=["log-det"], **QUICK)
    again = check_bijector(
        WrongFarOut, clauses=["log-det"], replay=caught.value.example, raises=False, **QUICK
    )
    assert again["log-det"].verdict == "broken"
    near = Example((2,), values=(1.0,))
    assert check_bijector(WrongFarOut, clauses=["log-det"], replay=near, **QUICK)


def test_a_failure_shrinks_to_the_smallest_event_and_plain_values():
    with pytest.raises(ContractError) as caught:
        check_bijector(WrongFarOut, clauses=["log-det"], event_shapes=[(1,), (2,), (5,)], examples=12)
    example = caught.value.example
    assert example.event == (1,)
    assert example.noise == 0
    assert all(value == int(value) for value in example.values)


def test_an_instance_is_not_touched():
    layer = Shift()
    check_bijector(layer, clauses=["round trip", "config"], **QUICK)
    assert not layer.built


def test_a_clause_that_no_draw_asked_is_not_kept():
    report = check_bijector(
        lambda draw: Scale(draw(st.floats(-2, 2))), clauses=["log-det kind", "adaptation"], **QUICK
    )
    assert report["log-det kind"].verdict == "kept"
    assert (report["adaptation"].verdict, report["adaptation"].reason) == (
        "not asked",
        "nothing depends on data",
    )


def test_a_clause_that_one_draw_asked_is_kept():
    strategy = st.sampled_from([Scale, ActNorm]).map(lambda kind: kind())
    report = check_bijector(strategy, clauses=["adaptation"], examples=40, event_shapes=[(2,)])
    assert (report["adaptation"].verdict, report["adaptation"].examples) == ("kept", 1)


def _raised(make, **options):
    with pytest.raises(BrokenPromise) as caught:
        check_bijector(make, **options)
    return caught.value


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (SignFlip, {"event_shapes": [(2,)]}),
        (lambda draw: SignFlip(draw(st.integers(0, 3))), {"event_shapes": [(2,)]}),
        (st.builds(SignFlip, st.integers(0, 3).map(float)), {"event_shapes": [(2,)]}),
        (lambda draw: SignFlip(draw(st.just((float("inf"), 1.0)))[1]), {}),
        (
            lambda draw: things.WrongAfter(draw(st.one_of(st.builds(Shift), st.builds(Scale)))),
            {"event_shapes": [(3,)]},
        ),
    ],
    ids=["one", "drawn number", "strategy", "no literal", "drawn layers"],
)
def test_the_printed_line_replays_the_failure(make, options):
    once = _raised(make, clauses=["log-det"], examples=4, **options)
    line = next(text for text in str(once).splitlines() if "replay:" in text).partition("replay:")[2]

    def check(given, **call):
        return _raised(make, **call) if given is ... else None

    again = eval(line, {"check_bijector": check, "Example": Example})
    assert (again.clause, again.measured, again.example) == (once.clause, once.measured, once.example)
    assert again.config == once.config
    assert again.replay == once.replay


def test_what_keras_cannot_store_may_be_drawn():
    def make(draw):
        made = draw(st.sampled_from([Shift, Scale]))
        return made(float(draw(st.fractions(0, 1))))

    assert check_bijector(make, event_shapes=[(2,)], clauses=["round trip"])


def test_what_a_config_forgets_is_drawn_all_the_same():
    values = []

    def make(draw):
        values.append(draw(st.integers(0, 5)))
        return things.Forgetful(float(values[-1]))

    report = check_bijector(make, event_shapes=[(2,)], clauses=["config"], raises=False)
    assert len(set(values)) > 1
    assert [result.verdict for result in report.results] == ["broken"]


def test_an_instance_that_its_config_cannot_make_again_is_an_error_of_its_own():
    with pytest.raises(ContractError, match="private"):
        check_bijector(things.Forgetful(2.0), event_shapes=[(2,)])
    with pytest.raises(ContractError, match=r"config.*makes again.*nothing to tell"):
        check_bijector(things.Silent())
    with pytest.raises(
        ContractError, match=r"TypeError: .* unexpected keyword argument.*`super\(\).__init__\(\*\*kw"
    ):
        check_bijector(things.Closed(2.0))
    assert check_bijector(lambda: things.Closed(2.0), event_shapes=[(3,)], clauses=["log-det"])


def test_a_sum_in_place_of_each_entry_is_told_by_its_shape():
    with pytest.raises(
        ContractError, match=r"a log-derivative for each entry, shape \(\d+, 3\),.*received shape \(\d+,\)"
    ):
        check_bijector(things.Summed(), event_shapes=[(3,)], clauses=["log-det"])


def test_a_codomain_that_is_not_declared_is_asked_for():
    with pytest.raises(ContractError, match=r"broke 'finite'.*declare it: spec = BijectorSpec\(codomain="):
        check_bijector(things.Undeclared(), event_shapes=[(1,)], clauses=["finite"])


def test_a_thorough_check_draws_more_bijectors():
    def drawn(profile):
        values = []

        def make(draw):
            values.append(draw(st.integers(0, 10**6)))
            return Shift(float(values[-1]))

        check_bijector(make, event_shapes=[(1,)], clauses=["log-det kind"], profile=profile)
        return len(set(values))

    assert drawn("thorough") > drawn("full")


def test_a_replay_takes_what_was_drawn_and_nothing_else():
    def make(draw):
        return Shift(float(draw(st.integers(0, 5))))

    for drawn in (b"", b"AXic", b"no blob at all"):
        with pytest.raises(
            ValueError, match=r"drawn: got b'.*', expected the blob in a report of this bijector"
        ):
            check_bijector(make, replay=Example((2,)), drawn=drawn)
    with pytest.raises(ValueError, match="got drawn= without replay="):
        check_bijector(make, drawn=b"AXic")


def test_a_replay_of_a_drawn_bijector_asks_for_what_was_drawn():
    with pytest.raises(ValueError, match="got replay= without drawn="):
        check_bijector(lambda draw: Scale(draw(st.just(1.0))), replay=Example((2,)))


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
    assert all(result.verdict == "not asked" for result in others)
    assert all(result.reason.endswith("see 'log-det shape'") for result in others)


def test_warnings_that_are_errors_break_no_promise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_bijector(ActNorm, **QUICK)


@pytest.mark.two_engines
def test_an_error_in_one_direction_hides_no_other_promise():
    report = check_bijector(things.SlipInInverse, raises=False, **QUICK)
    assert report["codomain"].verdict == "kept"
    assert [result.clause for result in report.broken] == ["log-det shape", "log-det"]


def test_an_error_in_a_waived_clause_is_reported_by_the_next():
    report = check_bijector(
        things.Slip, waived={"log-det shape": "known"}, clauses=["log-det shape", "log-det"], raises=False
    )
    assert [result.verdict for result in report.results] == ["waived", "broken"]


@pytest.fixture(scope="module")
def answers():
    """Outputs and gradients of a coupling on two engines."""
    return check_parity(things.coupling, ("jax", "torch"))


@pytest.mark.long
def test_engines_agree_at_an_event_that_the_spec_allows(answers):
    assert set(answers) == {"jax", "torch"}
    assert answers["jax"]["forward output"].shape == (3, *answers["torch"]["event"])
    for side in ("forward", "inverse"):
        gradients = [name for name in answers["jax"] if name.endswith(f"of {side}")]
        assert len(gradients) == 1 + 4  # the input, two kernels, two biases
        assert all(np.abs(answers["torch"][name]).max() > 0 for name in gradients)


@pytest.mark.long
def test_an_engine_that_disagrees_is_caught(answers):
    kinds = ("output", "log-det", "gradient 0 of")
    for what in [name for name in answers["torch"] if any(kind in name for kind in kinds)]:
        moved = {**answers["torch"], what: answers["torch"][what] + 1e-3}
        with pytest.raises(ContractError, match=f"expected {what} as on jax.* on torch") as caught:
            compare("coupling", "jax", answers["jax"], "torch", moved)
        assert caught.value.clause == "parity"


def test_a_context_that_cannot_be_made_is_refused():
    with pytest.raises(TypeError, match=r"context: got \{'a': 3\}, expected the shape of one context"):
        check_bijector(Scale, context={"a": 3})
    with pytest.raises(TypeError, match="context"):
        check_parity(things.coupling, context={"a": 3})
    with pytest.raises(TypeError, match="event_shape: got 3, expected a shape"):
        check_parity(things.coupling, event_shape=3)


def test_parity_says_what_another_process_cannot_find():
    with pytest.raises(ValueError, match="top of a module"):
        check_parity(lambda: Scale())
    with pytest.raises(TypeError, match="a function or class"):
        check_parity(Scale())


@pytest.mark.long
def test_the_command_tells_what_is_kept_as_json(capsys):
    """What is broken: tests/app/test_commands.py."""
    target = "tests/testing/things.py:Right"
    assert main(["check", target, "--backends", engine.name, "--profile", "fast", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] is True


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (
            SimpleNamespace(returncode=1, stdout="", stderr='File "gone.py", line 3\n\nValueError: no'),
            f"the check on {engine.name} stopped: ValueError: no (FLOWKIT_DEBUG=1 shows where)",
        ),
        (
            SimpleNamespace(returncode=0, stdout='\n{"misused": "it has no Thing"}', stderr="a warning"),
            "it has no Thing",
        ),
    ],
)
def test_the_command_says_on_standard_error_why_there_is_no_report(process, message, capsys, monkeypatch):
    monkeypatch.setattr(importlib.import_module("flowkit.app.check"), "run_on", lambda *args: process)
    assert main(["check", "tests/testing/things.py:Thing", "--backends", engine.name]) == USAGE
    answer = capsys.readouterr()
    assert (answer.out, answer.err) == ("", f"flowkit: {message}\n")


@pytest.mark.parametrize(
    "target", ["x", "x:", "no_such_module:Thing", "tests/no_file.py:Thing", ".things:Thing"]
)
def test_a_name_without_a_module_is_refused_before_a_backend_loads(target, capsys, monkeypatch):
    monkeypatch.setattr(importlib.import_module("flowkit.app.check"), "run_on", None)
    assert main(["check", target]) == USAGE
    assert f"MODULE:NAME: got '{target}', expected" in capsys.readouterr().err


def test_an_engine_that_the_command_does_not_know_is_named(capsys):
    assert main(["check", "tests/testing/things.py:Thing", "--backends", "fortran"]) == USAGE
    assert "KERAS_BACKEND: got 'fortran', expected one of jax" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", "a bijector's name: got 'nothing', expected package.module:Name or file.py:Name."),
        (":", "a bijector's name: got ':', expected package.module:Name or file.py:Name."),
        ("nowhere.py:Thing", "no file 'nowhere.py'"),
        ("no.such:Thing", "cannot import 'no.such': No module named 'no'"),
        ("tests.testing.things:Thing", "'tests.testing.things' has no 'Thing'"),
        ("tests.testing.things:Rihgt", "'tests.testing.things' has no 'Rihgt'; did you mean 'Right'?"),
        (
            "tests.testing.things:Closed",
            "'tests.testing.things:Closed': got a class with arguments (missing a required argument: 'shift'), ",
        ),
        ("os:system", "'os:system': got a builtin_function_or_method, expected a Bijector or Surjection"),
        ("shutil:rmtree", "'shutil:rmtree': got a function, expected a Bijector or Surjection"),
        ("tests.testing.things:engine_of", "'tests.testing.things:engine_of': got a function, expected"),
        ("collections:Counter", "'collections:Counter': got the class Counter, expected a Bijector"),
        (
            "flowkit.distributions:Normal",
            "'flowkit.distributions:Normal': got the class Normal, expected a Bijector or Surjection, its class "
            "or a function. Check a distribution by flowkit.testing.check_distribution.",
        ),
    ],
)
def test_an_engines_process_says_what_it_does_not_find(target, message, capsys):
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


def test_without_hypothesis_the_command_says_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None; import flowkit.app as c; sys.exit(c.main(['check', 'os:b']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == USAGE
    # TensorFlow may talk as well.
    said = [line for line in done.stderr.splitlines() if line.startswith("flowkit")]
    assert said == [
        "flowkit: flowkit.testing needs hypothesis: in flowkit's clone run pip install -e '.[testing]'"
    ]
    assert "Traceback" not in done.stderr


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
