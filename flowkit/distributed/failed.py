"""Errors in a group of processes: each reaches all processes."""

import contextlib
import json
from collections.abc import Callable, Iterator

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
