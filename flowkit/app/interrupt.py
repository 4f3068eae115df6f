"""Ctrl-C, and the SIGTERM by which a cluster ends a job.

A signal raises KeyboardInterrupt, and is recorded as well: XLA drops an exception that is raised inside one of its
callbacks. Training checks between its steps.
"""

import contextlib
import signal
import threading

# signal -> the word that the command prints
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
EXIT_CODES = {128 + number for number in WORDS}
_ORDINARY = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}

_heard = None  # the signal that ends the command
_ending = (
    False  # True while training checks by itself, and when the command ends: only a second Ctrl-C breaks in
)


@contextlib.contextmanager
def listening():
    """Handle both signals while a command runs.

    A handler of the program's own stays in its place, and so do all handlers outside the main thread.
    """
    global _heard, _ending
    _heard, _ending = None, False
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: how for number, how in _ORDINARY.items() if signal.getsignal(number) is how}
    try:
        for number in before:
            signal.signal(number, _hear)
        yield
    finally:
        for number, how in before.items():
            signal.signal(number, how)


def _hear(number, frame):
    global _heard
    # Clusters and launchers send SIGTERM more than once; a second Ctrl-C comes from an impatient user.
    hurries = _heard is not None and number == signal.SIGINT
    if _heard is None or hurries:
        _heard = number
    if hurries or not _ending:
        raise KeyboardInterrupt


@contextlib.contextmanager
def between_steps():
    """Delay signals in a scope that calls `heard` now and then; only a Ctrl-C after another signal breaks in.

    An exception that leaves the scope ends the command, so signals are delayed from there on.
    """
    global _ending
    _ending = True
    yield
    _ending = False


def check():
    """Raise KeyboardInterrupt if a signal was heard."""
    if heard():
        raise KeyboardInterrupt


def heard():
    """Return the signal that was heard, or None."""
    return _heard


def broke_in():
    """Return True if a signal raised an exception, which may have caused an error that follows."""
    return _heard is not None and not _ending


def end():
    """Mark the command as ending: from here on only a Ctrl-C after another signal breaks in."""
    global _ending
    _ending = True


def hear_of(number):
    """Record a signal that another process of the group has heard."""
    global _heard
    _heard = number


def exit_code():
    """Return 128 + the number of the signal that was heard: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_heard or signal.SIGINT)


def words():
    """Return "interrupted" or "terminated", by the signal that was heard."""
    return WORDS[_heard or signal.SIGINT]
