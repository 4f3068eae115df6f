"""The end of a process of a group: on an error it ends at once, since Python's own exit waits for the others."""

import os
import sys
import time
import traceback
from typing import Any, NoReturn

from flowkit.distributed.failed import leave
from flowkit.engines import engine

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
