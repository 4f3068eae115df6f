"""Files of a run that are written in place: what lies at their name must be a file of the run's own."""

import errno
import os
import stat
from typing import IO


def open_own(path: str | os.PathLike[str], mode: str) -> IO[str]:
    """`open(path, mode)` for text, made if it is missing; a link to some other file is refused, not followed.

    A folder of runs may be written by several people, and a link that one of them has left there would have
    another's training write over a file elsewhere. `mode` is "a" or "a+".

    Raises OSError with ELOOP for a link, symbolic or hard, and for what is no file.

    >>> import tempfile, pathlib
    >>> with open_own(pathlib.Path(tempfile.mkdtemp()) / "log.csv", "a") as file:
    ...     _ = file.write("epoch")
    """
    return open(path, mode, newline="", encoding="utf-8", opener=_open_own)


def _open_own(path, flags):
    try:
        # O_NONBLOCK, since a pipe would wait for somebody at its other end. Windows has neither.
        handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):  # EMLINK on BSD; ENXIO of a pipe
            raise _refusal(path) from None
        raise
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:  # none: its last owner has just removed it
        return handle
    os.close(handle)
    raise _refusal(path)


def _refusal(path):
    words = "expected a file of the run's own, found a link or no file: remove it"
    return OSError(errno.ELOOP, words, str(path))
