"""A line about something slow, printed while it goes on, and nothing about what is soon over."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any


class Patience(threading.Timer):
    """Call `say()` once, from its own thread, if `over()` is not called within `seconds`.

    >>> with Patience(lambda: print("still at it"), seconds=60):
    ...     print("done")
    done
    """

    def __init__(self, say: Callable[[], Any], seconds: float = 2.0) -> None:
        super().__init__(seconds, self._say, [say])
        self.daemon = True
        self.start()

    @staticmethod
    def _say(say):
        with contextlib.suppress(OSError):  # standard output is closed
            say()

    def over(self) -> None:
        """End the thread, after a line that it is printing."""
        self.cancel()
        self.join()

    def __enter__(self) -> "Patience":
        return self

    def __exit__(self, *raised: object) -> None:
        self.over()
