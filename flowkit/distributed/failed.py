"""An error in one process of those that work together reaches all of them, whatever they wait for."""

import contextlib
import json
from collections.abc import Callable, Iterator

from flowkit.distributed.lost import ProcessLost, check_all_are_there, naming_the_lost
from flowkit.engines import engine

_MARK = b"failed "  # what a message begins with that is an error; no array's does


class ProcessFailed(RuntimeError):
    """Another process of the group has failed in what all of them do together. It lives, and so does the group."""

    told_by_main = True
    told_to_all = True

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # of a command that ends with it, of which the main process has the word


def exchanged(data: bytes) -> list[bytes]:
    """The bytes that each process gives, in the order of their ranks; ProcessFailed if one comes with an error."""
    check_all_are_there()
    with naming_the_lost():
        given = engine.exchange(data)
    for rank, message in enumerate(given):
        if message.startswith(_MARK):
            text, code = json.loads(message[len(_MARK) :])
            raise ProcessFailed(f"process {rank} of {len(given)}: {text}", code)
    return given


def _words(error):
    refused = isinstance(error, ValueError | OSError)
    return f"{type(error).__name__}: {error}", 2 if refused else 1


@contextlib.contextmanager
def failing_together(words: Callable[[Exception], tuple[str, int]] = _words) -> Iterator[None]:
    """A scope in which one that fails is not waited for: all come to it, and leave it together.

    What is raised in one process is raised there, and is a `ProcessFailed` in those that are well: at their next
    `gather` in the scope, or at its end. `words(error)` are its text and exit code for the others.
    """
    if engine.processes() == 1:
        yield
        return
    try:
        yield
    except (ProcessLost, ProcessFailed):  # of which all know
        raise
    except Exception as error:
        # One message for each error, also if such a scope lies within another.
        if not getattr(error, "told_to_all", False):
            error.told_to_all = True  # type: ignore[attr-defined]
            with contextlib.suppress(ProcessFailed, ProcessLost):  # its own error says more
                exchanged(_MARK + json.dumps(words(error)).encode())
        raise
    exchanged(b"")
