"""Ctrl-C and SIGTERM are heard at any moment, and where an exception of theirs was dropped."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from flowkit.app import entry, failure, info, interrupt, main


def end_of(code):
    """The exit code of a program, and what it says on standard error."""
    # TensorFlow tells on standard error of the processor, and that oneDNN is on.
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=quiet
    )
    return done.returncode, done.stderr


@pytest.fixture(autouse=True)
def listening():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with interrupt.listening():
        yield
    signal.signal(signal.SIGINT, before)


def test_it_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_one_whose_exception_was_dropped_is_raised_again():
    interrupt.check()
    with contextlib.suppress(KeyboardInterrupt):  # as a callback of XLA's does
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt.check()


@pytest.mark.parametrize(
    ("name", "end"),
    [("SIGINT", (130, "flowkit: interrupted\n")), ("SIGTERM", (143, "flowkit: terminated\n"))],
)
def test_it_is_heard_while_the_commands_are_imported(name, end):
    code = (
        "import signal, sys\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        f"            signal.raise_signal(signal.{name})\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from flowkit.app import main\n"
        "sys.exit(main(['info']))\n"
    )
    assert end_of(code) == end


def test_a_program_with_a_handler_of_its_own_keeps_it():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupt.listening():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_between_steps_signals_wait_and_only_a_second_ctrl_c_does_not(number, code):
    with interrupt.between_steps():
        assert not interrupt.heard()
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)  # as launchers and clusters hand on what they were sent
        assert interrupt.heard()
        assert interrupt.exit_code() == code
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_once_training_ends_for_it_only_ctrl_c_breaks_into_the_end_of_the_command():
    with contextlib.suppress(ValueError), interrupt.between_steps():
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.heard()
        raise ValueError
    signal.raise_signal(signal.SIGTERM)
    assert interrupt.exit_code() == 143
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_where_training_ends_otherwise_a_first_sigterm_does_not_break_in_either():
    """As in a process of a group that another one has told of its signal."""
    with contextlib.suppress(ValueError), interrupt.between_steps():
        raise ValueError
    signal.raise_signal(signal.SIGTERM)
    assert interrupt.heard() == signal.SIGTERM


def test_what_nobody_has_answered_may_come_again():
    """Since an exception for the first may have been dropped."""
    with interrupt.between_steps():
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_when_a_command_is_over_all_is_as_it_was():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), interrupt.listening():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.fixture
def as_python_begins():
    """Python's own handlers, as a program's first command finds them; asked, whether they are there."""
    ordinary = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, how) for number, how in ordinary.items()}
    yield lambda: all(signal.getsignal(number) is how for number, how in ordinary.items())
    for number, how in before.items():
        signal.signal(number, how)


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
@pytest.mark.parametrize("moment", ["begins", "works"])
def test_whenever_it_comes_the_code_and_the_word_are_its_own(
    monkeypatch, capsys, as_python_begins, number, code, word, moment
):
    change, changed = signal.signal, []

    def changing(*given):  # two handlers when a command begins, and two when it ends
        changed.append(given)
        before = change(*given)
        if moment == "begins" and len(changed) == 2:
            signal.raise_signal(number)
        return before

    def work(backend):
        if moment == "works":
            signal.raise_signal(number)

    monkeypatch.setattr(info, "use", work)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", changing)
        assert main(["info"]) == code
    assert len(changed) == 4
    assert capsys.readouterr().err == f"flowkit: {word}\n"
    assert as_python_begins()


def test_a_second_sigterm_does_not_cut_what_is_said_of_the_first(monkeypatch, capsys, as_python_begins):
    def say(text):
        signal.raise_signal(signal.SIGTERM)
        failure.say(text)

    monkeypatch.setattr(info, "use", lambda backend: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(entry, "say", say)
    assert main(["info"]) == 143
    assert capsys.readouterr().err == "flowkit: terminated\n"


@pytest.mark.parametrize("moment", ["threading._register_atexit", "atexit.register"])
def test_at_the_end_of_the_program_it_prints_nothing(moment):
    """When Python joins its threads, or calls what was registered for its exit."""
    code = (
        "import atexit, signal, sys, threading\n"
        f"{moment}(signal.raise_signal, signal.SIGINT)\n"
        "from flowkit.app import script\n"
        "sys.argv[1:] = ['--version']\n"
        "script()\n"
    )
    assert end_of(code) == (-signal.SIGINT, "")


@pytest.mark.long
def test_sigterm_that_comes_again_at_the_very_end_changes_nothing():
    """While the others of a group are told that all end."""
    code = (
        "import signal\n"
        "from flowkit.app import entry, failure\n"
        "from flowkit.distributed import failed\n"
        "entry.main = lambda: 143\n"
        "failure.process, failure.told_to_all = 0, True\n"
        "failed.end_process = lambda code, in_order: signal.raise_signal(signal.SIGTERM)\n"
        "entry.script()\n"
    )
    assert end_of(code) == (143, "")
