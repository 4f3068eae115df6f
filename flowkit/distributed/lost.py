"""A process that has ended leaves the others waiting: they say which one it was, and end as well."""

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

from flowkit.distributed.watch import GRACE, Watch
from flowkit.engines import engine


class ProcessLost(RuntimeError):
    """Another process of the group has ended, and the group cannot go on without it."""

    exit_code = 1  # of a command that ends with it


_NOTICED = 5.0  # seconds in which it is known who has ended, once an engine has failed of it
_SAME = 1.0  # seconds within which processes that all raise the same error have said it
_FIRST = 0.5  # seconds in which the others hear that this one ends
_watch: Watch | None = None


def watch_the_others(host: str, seconds: float) -> None:
    """Hear of each process that ends, whatever this one does then. All call it once they have joined."""
    global _watch
    # JAX ends a process itself as soon as process 0 has ended, with a page of addresses: this comes before it.
    soon = 0.0 if engine.name == "jax" else GRACE
    _watch = Watch(host, seconds, _end_late, _end_alone, grace_of_main=soon)


def leave_in_order() -> None:
    """Say so, that nobody waits for this process in vain, and wait until all leave. ProcessLost if one ends before."""
    if _watch is not None:
        _watch.leave()
        if ranks := _watch.ended(0):
            watch_no_more()
            raise ProcessLost(_words(ranks))


def check_all_are_there() -> None:
    """Before all processes meet: ProcessLost if one has left the group, and would be waited for in vain."""
    if _watch is not None and (ranks := _watch.missed()):
        raise ProcessLost(_words_alone(ranks))


def watch_no_more() -> None:
    """Leave what `watch_the_others` began, once all have left the group."""
    global _watch
    if _watch is not None:
        _watch.close()
    _watch = None


def end_together() -> None:
    """Where all processes end, since all of them know why: then none is taken for lost, and the main one is the last.

    On JAX it takes the others with it.
    """
    if _watch is not None:
        _watch.end_together(_NOTICED)


@contextlib.contextmanager
def naming_the_lost() -> Iterator[None]:
    """A scope in which an engine's error about a process that does not answer becomes a `ProcessLost`."""
    try:
        yield
    except Exception as error:
        if engine.processes() == 1 or isinstance(error, ProcessLost) or not engine.is_lost(error):
            raise
        raise ProcessLost(_told(error)) from error


def let_the_others_speak(told_to_all: bool) -> None:
    """At the end of a process that has failed: what `told_to_all` ends all of them, which need not say who it was.

    On JAX, where it may be the same for all otherwise too, process 0 gives them a moment to say it.
    """
    if told_to_all:
        end_together()
    elif _takes_all():
        time.sleep(_SAME)
        _end_the_others()


def _takes_all():
    """Whether this process is one with which JAX ends all others, saying so with a page of addresses."""
    return engine.name == "jax" and engine.processes() > 1 and engine.process_rank() == 0


def _end_the_others():
    """They say it themselves, in one line."""
    if _watch is not None:
        _watch.say_end()
        time.sleep(_FIRST)


def _told(error):
    """Who has ended, or left, in words, for a process that ends because of it; if nobody has, what the engine said."""
    if _watch is not None:
        if ranks := _watch.ended(_NOTICED):
            watch_no_more()
            return _words(ranks)
        if ranks := _watch.missed():
            return _words_alone(ranks)
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"the group of {engine.processes()} processes has broken: {reason}. If one has something to do for "
        "which the others wait longer, give all flowkit.distributed.start(minutes=...)."
    )


def _words(ranks):
    have = "has" if len(ranks) == 1 else "have"
    return (
        f"{_named(ranks)} {have} ended: process {engine.process_rank()} ends too. Start all again, "
        "and training goes on from its last checkpoint."
    )


def _words_alone(ranks):
    have, programs = ("has", "its program") if len(ranks) == 1 else ("have", "their programs")
    return (
        f"{_named(ranks)} {have} left the group, since {programs} came to an end or called "
        f"flowkit.distributed.stop(), and process {engine.process_rank()} still has something to do with all: it "
        "ends too. All processes must make the same calls, with as many batches."
    )


def _named(ranks):
    names = " and ".join(filter(None, [", ".join(map(str, ranks[:-1])), str(ranks[-1])]))
    return f"{'process' if len(ranks) == 1 else 'processes'} {names} of {engine.processes()}"


def _end_late(ranks):
    """End from another thread than the main one, which may wait for ever."""
    _end_now(_words(ranks))


def _end_alone(ranks):
    """The same where those that are waited for have left in order."""
    _end_now(_words_alone(ranks))


def _end_now(words):
    try:
        print(f"flowkit: {words}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        if _takes_all():
            _end_the_others()
    finally:  # also if nobody reads what is said
        os._exit(1)


_left_with: object = None  # the status of the SystemExit by which the program has ended


def end_on_errors() -> None:
    """Have this process end at once on an error that nobody catches: Python's own end would wait for the others."""
    sys.excepthook = end_at_once
    # Of a SystemExit that hook is not told, and what is called at the end not whether there was one.
    if sys.version_info >= (3, 12):
        _watch_the_end()
    else:
        _listen_to_sys_exit()


def _watch_the_end():
    """Note the status of a SystemExit that leaves the program, whoever has raised it."""
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame.f_back is not None:
        frame = frame.f_back
    program = frame.f_code

    def left(code, offset, error):
        global _left_with
        if code is program and isinstance(error, SystemExit):
            _left_with = error.code

    watch = sys.monitoring
    tool = next((number for number in (4, 3, 5) if watch.get_tool(number) is None), None)
    if tool is None:  # debuggers and profilers have them all
        _listen_to_sys_exit()
        return
    watch.use_tool_id(tool, "flowkit")
    watch.register_callback(tool, watch.events.PY_UNWIND, left)
    # Which costs where an exception leaves a function, and only there.
    watch.set_events(tool, watch.events.PY_UNWIND)


def _listen_to_sys_exit():
    """Note what `sys.exit` is told, which Python 3.11 lets one see."""
    leave = sys.exit

    def leaving(status: object = None) -> NoReturn:
        global _left_with
        _left_with = status
        leave(status)

    sys.exit = leaving


def end_if_failed() -> None:
    """At the end of a program: end at once if it was left with a failure's status. The others still wait for it."""
    if _left_with in (None, 0):
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        let_the_others_speak(False)
    finally:  # as below
        os._exit(_left_with & 255 if isinstance(_left_with, int) else 1)  # a text is printed by now


def end_at_once(kind: type[BaseException], error: BaseException, trace: Any) -> NoReturn:
    """Say what `error` was, and end; the others are told by that."""
    try:
        # Between calls of flowkit's, such as while Keras builds, nobody has named it yet.
        if engine.processes() > 1 and engine.is_lost(error):
            kind, error = ProcessLost, ProcessLost(_told(error))
        if issubclass(kind, ProcessLost):
            print(f"flowkit: {error}", file=sys.stderr)
        else:
            traceback.print_exception(kind, error, trace)
        sys.stdout.flush()
        sys.stderr.flush()
        let_the_others_speak(getattr(error, "told_to_all", False))
    finally:  # also if nobody reads what is said, or Ctrl-C comes: Python's own end would wait for the others
        os._exit(130 if issubclass(kind, KeyboardInterrupt) else 1)
