"""Ctrl-C, heard at every moment.

An exception that a signal raises inside a callback of XLA's is dropped, and one that it raises while an engine is
being imported may leave that engine half made. So the signal is written down as well, and a dropped exception is
raised once more.
"""

import _thread
import contextlib
import functools
import signal
import sys
import threading

EXIT_CODE = 128 + signal.SIGINT

_heard = _waits = False


def listen():
    """Take over SIGINT, where Python's own handler has it, and forget what was heard before: a command begins."""
    answered()
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _hear)
        sys.unraisablehook = functools.partial(_dropped, sys.unraisablehook)


def _hear(number, frame):
    global _heard
    _heard = True
    if not _waits:
        raise KeyboardInterrupt


def _dropped(others, unraisable):
    """What Python does with an exception that nobody can catch, such as one in a garbage collector's callback."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        others(unraisable)
    elif _heard:
        # Here it would be dropped again: in a moment the program is elsewhere.
        threading.Timer(0.05, lambda: _thread.interrupt_main() if _heard else None).start()


@contextlib.contextmanager
def later():
    """A scope that Ctrl-C does not break into: KeyboardInterrupt is raised when it ends."""
    global _waits
    _waits = True
    try:
        yield
    finally:
        _waits = False
    check()


def check():
    """Raise KeyboardInterrupt where a Ctrl-C was heard and is not answered yet."""
    if _heard:
        raise KeyboardInterrupt


def heard():
    """True where a Ctrl-C was heard and is not answered yet."""
    return _heard


def answered():
    """Forget what was heard: the command is over."""
    global _heard
    _heard = False
