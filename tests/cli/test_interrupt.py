"""Ctrl-C is heard while an engine is imported, and where an exception of it was dropped."""

import contextlib
import signal

import pytest

from flowkit.cli import interrupt


@pytest.fixture(autouse=True)
def listening():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt.listen()
    yield
    interrupt.answered()
    signal.signal(signal.SIGINT, before)


def test_it_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_it_waits_for_the_end_of_a_scope():
    reached = []

    def scope():
        with interrupt.later():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        scope()
    assert reached == ["the end"]


def test_one_whose_exception_was_dropped_is_raised_again():
    interrupt.check()
    with contextlib.suppress(KeyboardInterrupt):  # as a callback of XLA's does
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt.check()
    interrupt.answered()
    interrupt.check()


def test_a_program_with_a_handler_of_its_own_keeps_it():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupt.listen()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
