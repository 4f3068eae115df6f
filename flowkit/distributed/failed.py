"""Errors in a group of processes: each reaches all processes.

One that is not caught ends its process at once, since Python's own exit waits for the others.
"""

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from flowkit.engines import engine

# A message that is no array, which `gather` sends, begins with one of these.
_FAILED = b"failed "
_LEAVES = b"leaves"


class ProcessLost(RuntimeError):
    """Another process has left the group while others stay, and the group cannot go on without it."""

    exit_code = 1  # of a command that ends with it


class ProcessFailed(RuntimeError):
    """Another process of the group has failed in something that all do together. The group goes on."""

    told_to_all = True

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # of a command that ends with it


def exchanged(data: bytes) -> list[bytes]:
    """Return the bytes of each process in the order of the ranks.

    Raises ProcessFailed if one sends an error, ProcessLost if one leaves the group while others stay, and the backend's
    own error if one has ended.
    """
    given = engine.exchange(data)
    leaving = [rank for rank, message in enumerate(given) if message == _LEAVES]
    if leaving and len(leaving) < len(given):
        left = ", ".join(map(str, leaving))
        raise ProcessLost(
            f"process {left} of {len(given)} has left the group, since its program came to an end or called "
            "flowkit.distributed.stop(), while others still exchange something with all. All processes must make the "
            "same calls, with as many batches."
        )
    for rank, message in enumerate(given):
        if message.startswith(_FAILED):
            text, code = json.loads(message[len(_FAILED) :])
            raise ProcessFailed(f"process {rank} of {len(given)}: {text}", code)
    return given


def leave() -> None:
    """Leave the group in order, once all processes leave it. Raises ProcessLost if one does something else."""
    exchanged(_LEAVES)
    engine.leave()


def _words(error):
    refused = isinstance(error, ValueError | OSError)
    return f"{type(error).__name__}: {error}", 2 if refused else 1


@contextlib.contextmanager
def failing_together(words: Callable[[Exception], tuple[str, int]] = _words) -> Iterator[None]:
    """Enter and leave a scope in all processes; an error in one of them ends the scope in all.

    The error is raised where it happened, and as a `ProcessFailed` in the other processes: at their next `gather` in
    the scope, or at its end. `words(error)` returns its text and exit code for the others.
    """
    if engine.processes() == 1:
        yield
        return
    try:
        yield
    except (ProcessLost, ProcessFailed):  # all know
        raise
    except Exception as error:
        # One message for each error, also if such a scope lies within another.
        if not getattr(error, "told_to_all", False):
            error.told_to_all = True  # type: ignore[attr-defined]
            with contextlib.suppress(Exception):  # its own error says more
                exchanged(_FAILED + json.dumps(words(error)).encode())
        raise
    exchanged(b"")


# The end of a process

_LAST = 1.0  # seconds in which the others report the same error, before JAX ends them along with process 0
_exit_status: object = None  # the argument of sys.exit


def end_on_errors() -> None:
    """Make this process end at once on an uncaught error, and on `sys.exit` with the status of a failure."""
    sys.excepthook = _end_on_error
    own = sys.exit

    def noted(status: object = None) -> NoReturn:
        global _exit_status
        _exit_status = status
        own(status)

    sys.exit = noted


def end_process(code: int, in_order: bool) -> NoReturn:
    """End this process with an exit code; first leave the group if `in_order`, as all processes then do."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        if in_order:
            leave()
        elif engine.processes() > 1 and engine.process_rank() == 0:
            time.sleep(_LAST)
    finally:  # also if standard output is closed, or Ctrl-C comes
        os._exit(code)


def leave_at_exit() -> None:
    """Leave the group when the program ends in order; end at once if it has failed."""
    if _exit_status not in (None, 0):
        end_process(_exit_status & 255 if isinstance(_exit_status, int) else 1, in_order=False)
    try:
        leave()
    except BaseException as error:  # Python would ignore it and end with 0
        _end_on_error(type(error), error, error.__traceback__)


def _end_on_error(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print an uncaught error and end the process; let Python end it if all processes end with this error."""
    in_order = getattr(error, "told_to_all", False)
    try:
        traceback.print_exception(kind, error, trace)
    finally:  # also if standard error is closed
        if not in_order:
            end_process(130 if issubclass(kind, KeyboardInterrupt) else 1, in_order=False)
