"""A process that has ended leaves the others waiting: they say which one it was, and end as well."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

from flowkit import backends


class ProcessLost(RuntimeError):
    """Another process of the group has ended, and the group cannot go on without it."""

    exit_code = 1  # of a command that ends with it


@contextlib.contextmanager
def naming_the_lost() -> Iterator[None]:
    """A scope in which an engine's error about a process that does not answer becomes a `ProcessLost`."""
    try:
        yield
    except Exception as error:
        if backends.processes() == 1 or isinstance(error, ProcessLost) or not backends.is_lost(error):
            raise
        raise ProcessLost(_told(error)) from error


def _told(error):
    ranks, count = backends.missing(), backends.processes()
    if not ranks:
        return f"the group of {count} processes has broken: {str(error).splitlines()[0]}"
    names = " and ".join(filter(None, [", ".join(map(str, ranks[:-1])), str(ranks[-1])]))
    some = f"process {names}" if len(ranks) == 1 else f"processes {names}"
    have = "has" if len(ranks) == 1 else "have"
    return (
        f"{some} of {count} {have} ended: process {backends.process_rank()} ends too. Start all again, and training "
        "goes on from its last checkpoint."
    )


_left_with: object = None  # what `sys.exit` was given last


def end_on_errors() -> None:
    """Have this process end at once on an error that nobody catches: Python's own end would wait for the others."""
    sys.excepthook = _end
    leave = sys.exit

    def leaving(status: object = None) -> NoReturn:
        global _left_with
        _left_with = status
        leave(status)

    sys.exit = leaving  # Python keeps it to itself whether a program has failed


def end_if_failed() -> None:
    """At the end of a program: end at once if `sys.exit` was told of a failure. The others still wait for this one."""
    if _left_with in (None, 0):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_left_with & 255 if isinstance(_left_with, int) else 1)  # a text is printed by now


def _end(kind, error, trace):
    # Between calls of flowkit's, such as while Keras builds, nobody has named it yet.
    if backends.processes() > 1 and backends.is_lost(error):
        kind, error = ProcessLost, ProcessLost(_told(error))
    if issubclass(kind, ProcessLost):
        print(f"flowkit: {error}", file=sys.stderr)
    else:
        traceback.print_exception(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130 if issubclass(kind, KeyboardInterrupt) else 1)
