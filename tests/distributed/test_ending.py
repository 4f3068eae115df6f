"""A process of a group ends at once on its own failure, and in order where all end."""

import io
import os
import sys

import pytest

from flowkit.app import entry, failure
from flowkit.distributed import ProcessFailed, ProcessLost, failed


class Exited(Exception):
    """What `os._exit` is here; its argument is the code."""


@pytest.fixture
def left(monkeypatch):
    """Have `end_on_errors` and `os._exit` do no harm; a list that grows when the group is left in order."""
    calls = []

    def exited(code):
        raise Exited(code)

    monkeypatch.setattr(os, "_exit", exited)
    monkeypatch.setattr(failed, "leave", lambda: calls.append("left"))
    monkeypatch.setattr(failed, "_exit_status", None)
    for name in ("exit", "excepthook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    failed.end_on_errors()
    return calls


@pytest.mark.parametrize(("status", "code"), [(None, None), (0, None), (3, 3), (259, 3), ("why", 1)])
def test_sys_exit_with_a_failure_does_not_wait_for_the_others(left, status, code):
    with pytest.raises(SystemExit):
        sys.exit(status)
    if code is None:
        failed.leave_at_exit()
        assert left == ["left"]
    else:
        with pytest.raises(Exited, match=rf"^{code}$"):
            failed.leave_at_exit()
        assert left == []


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ProcessLost("the group has broken"), 1, "ProcessLost: the group has broken\n"),
        (ValueError("mine"), 1, "ValueError: mine\n"),
        (KeyboardInterrupt(), 130, "KeyboardInterrupt\n"),
    ],
)
def test_an_error_ends_the_process_in_the_program_and_at_its_end(
    left, monkeypatch, capsys, error, code, said
):
    def broken():
        raise error

    with pytest.raises(Exited, match=rf"^{code}$"):
        sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err.endswith(said)
    monkeypatch.setattr(failed, "leave", broken)
    with pytest.raises(Exited, match=rf"^{code}$"):
        failed.leave_at_exit()
    assert capsys.readouterr().err.endswith(said)


def test_an_error_that_ends_all_is_left_to_python_which_leaves_in_order(left, capsys):
    error = ProcessFailed("in process 1")
    sys.excepthook(ProcessFailed, error, None)
    assert capsys.readouterr().err.endswith("ProcessFailed: in process 1\n")
    failed.leave_at_exit()
    assert left == ["left"]


def test_a_process_ends_also_if_standard_error_is_closed(left, monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with pytest.raises(Exited, match=r"^1$"):
        sys.excepthook(ValueError, ValueError("mine"), None)


@pytest.mark.parametrize("together", [True, False])
def test_a_command_leaves_in_order_if_all_end(left, monkeypatch, together):
    def refused(arguments):
        error = failure.CommandError("", 2)
        error.told_to_all = together
        raise error

    monkeypatch.setattr(entry, "_run", refused)
    monkeypatch.setattr(entry.signal, "signal", lambda *given: None)
    monkeypatch.setattr(failure, "process", 1)
    monkeypatch.setattr(failure, "told_to_all", False)
    with pytest.raises(Exited, match=r"^2$"):
        entry.script()
    assert left == (["left"] if together else [])
