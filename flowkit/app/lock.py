"""A lock: one process at a time trains into a folder."""

import contextlib
import os
import socket

from flowkit.app.failure import CommandError
from flowkit.training.atomic import open_own

try:
    import fcntl
except ImportError:  # Windows: there nothing stops a second process
    fcntl = None

NAME = ".lock"


@contextlib.contextmanager
def held(folder):
    """Lock `folder`, made if it is missing, for this process.

    Raises a CommandError if another process holds it, an OSError if a link has the lock's name. The system releases the
    lock when a process ends, however it ends. Folders that were made and are still empty at the end are removed.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / NAME) if fcntl else contextlib.nullcontext():
            yield
    finally:
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()


@contextlib.contextmanager
def _locked(path):
    with open_own(path, "a+") as file:
        if not _lock(file, path):
            file.seek(0)
            raise CommandError(
                f"{path.parent}: {file.read(100) or 'another process'} is training into this folder: wait for "
                "its end, or choose another folder with --out"
            )
        try:
            file.truncate(0)
            print(f"process {os.getpid()} on {socket.gethostname()}", end="", file=file, flush=True)
            yield
        finally:
            path.unlink(missing_ok=True)


def _lock(file, path):
    """Take the lock; return False if another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    # One who has just ended may have removed the file between its opening here and the lock.
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
