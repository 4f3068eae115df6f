"""A line about what takes long, said while it goes on; nothing of what is soon over."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any


class Patience:
    """`say()` once, from a thread of its own, if `over()` has not been called `seconds` later.

    After `over()` nothing is said, and the thread has ended. Without it the thread ends with what it says.

    >>> with Patience(lambda: print("still at it"), seconds=60):
    ...     print("done")
    done
    """

    def __init__(self, say: Callable[[], Any], seconds: float = 2.0) -> None:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._wait, args=(say, seconds), name="patience", daemon=True)
        self._thread.start()

    def _wait(self, say, seconds):
        if not self._is_over.wait(seconds):
            with contextlib.suppress(OSError):  # who read it has gone: the program notices by itself
                say()

    def over(self) -> None:
        """What was waited for is there. Waits for a line that is being said."""
        self._is_over.set()
        self._thread.join()

    def __enter__(self) -> "Patience":
        return self

    def __exit__(self, *raised: object) -> None:
        self.over()
