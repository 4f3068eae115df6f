"""Ctrl-C, and the SIGTERM by which a cluster ends a job, at every moment.

XLA drops an exception that a signal raises inside one of its callbacks, and an exception during the import of an engine
may leave that engine half made. So the signal is recorded as well, and a dropped exception is raised once more.
Training checks for a signal after each step: `between_steps`.
"""

import _thread
import contextlib
import functools
import signal
import sys
import threading

# signal -> the word that the command prints
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
EXIT_CODES = {128 + number for number in WORDS}

_heard = None  # the signal that is not answered yet
_raised = False  # True if an exception was raised for it
_answers = False  # True if the command ends because of it
_late = None  # a signal that came when the command was over
_ends = _waits = _asks = False


class Interruption(KeyboardInterrupt):
    """Raised where the command is when a signal comes; `number` is the signal's."""

    def __init__(self, number):
        super().__init__()
        self.number = number


@contextlib.contextmanager
def listening():
    """Handle both signals while a command runs; forget the signals of earlier commands.

    A handler of the program's own stays in its place, and so do all handlers outside the main thread. A signal of the
    first or the last moment leaves the scope as an `Interruption`.
    """
    global _ends
    _forget()
    before, hook = {}, sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        ordinary = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        before = {number: how for number, how in ordinary.items() if signal.getsignal(number) is how}
    try:
        if before:
            sys.unraisablehook = functools.partial(_dropped, hook)
        for number in before:
            signal.signal(number, _hear)
        yield
    finally:
        try:
            _ends = True
        finally:  # even if one came just before
            for number, how in before.items():
                signal.signal(number, how)
            if before:
                sys.unraisablehook = hook
            late = _late if _heard is None else None
            _forget()
        if late is not None:
            raise Interruption(late)


def _hear(number, frame):
    global _heard, _raised, _late
    if _ends:
        _late = number
        return
    first = _heard is None
    # Clusters and launchers send SIGTERM more than once; a second Ctrl-C comes from an impatient user.
    hurries = not first and number == signal.SIGINT
    if first or hurries:
        _heard = number
    if not _waits and (hurries or not (_asks or _answers)):
        _raised = True
        raise Interruption(number)


def _dropped(others, unraisable):
    """Raise a KeyboardInterrupt again that Python cannot raise, such as one in a garbage collector's callback."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        others(unraisable)
    elif _heard is not None:
        # Here it would be dropped again: in a moment the program is elsewhere.
        threading.Timer(0.05, lambda: _heard and _thread.interrupt_main(_heard)).start()


@contextlib.contextmanager
def later():
    """Delay signals to the end of the scope, where KeyboardInterrupt is raised."""
    global _waits
    _waits = True
    try:
        yield
    finally:
        _waits = False
    check()


@contextlib.contextmanager
def between_steps():
    """Delay signals in a scope that calls `heard` now and then; only a Ctrl-C after another signal breaks in."""
    global _asks
    _asks = True
    try:
        yield
    except BaseException:  # the command ends
        answer()
        raise
    finally:
        _asks = False


def check():
    """Raise KeyboardInterrupt if a signal was heard and is not answered yet."""
    if _heard is not None:
        raise KeyboardInterrupt


def heard():
    """Return True if a signal was heard. The caller answers it: the command ends because of it."""
    if _heard is not None:
        answer()
    return _heard is not None


def answer():
    """Mark the command as ending: from here on only a Ctrl-C after another signal breaks in."""
    global _answers
    _answers = True


def number():
    """Return the signal that was heard, or None."""
    return _heard


def hear_of(number):
    """Record a signal that another process of the group has heard."""
    global _heard
    _heard = number


def raised():
    """Return True if KeyboardInterrupt was raised for it, at any place: it may have caused an error that follows."""
    return _raised


def exit_code(interruption=None):
    """Return 128 + the number of the signal that was heard: 130 for Ctrl-C, 143 for SIGTERM.

    Outside of `listening`, the signal is that of the KeyboardInterrupt that has left it.
    """
    return 128 + _number(interruption)


def words(interruption=None):
    """Return "interrupted" or "terminated", by the signal that was heard."""
    return WORDS[_number(interruption)]


def _number(interruption):
    return _heard or getattr(interruption, "number", signal.SIGINT)


def _forget():
    global _heard, _raised, _answers, _late, _ends
    _heard, _raised, _answers, _late, _ends = None, False, False, None, False
