"""How often this process has gone to where all of its group meet, to hand each other something or to take a step."""

import contextlib
from collections.abc import Iterator

_meetings = 0


def meetings() -> int:
    """How often it has: as often as the others, once all of them are there. Who has been there less is waited for."""
    return _meetings


@contextlib.contextmanager
def meeting() -> Iterator[None]:
    """A scope in which it goes there, for all that an engine does with all processes. It counts unless it fails."""
    global _meetings
    _meetings += 1
    try:
        yield
    except BaseException:
        _meetings -= 1
        raise
