"""Files of a run: replaced as a whole, so that a kill at any moment leaves no torn file, or opened as the run's own."""

import contextlib
import errno
import glob
import json
import math
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def atomic_path(path: str | Path, *, keep: Any = None) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an error.

    The new file is flushed to the disk, then renamed over the old one in a single step, so that readers see the old
    file or the new one, never a part. The name of the temporary file ends as `path` does, for writers that look at the
    suffix. With `keep`, the old file is renamed to `keep` first.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic_path(path) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    path = Path(path)
    temporary = path.with_name(f"{_prefix(path.name)}{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        # A full disk, for example. The user knows `path`, not the temporary file.
        if error.errno is None or not _concerns(path, error.filename):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def json_text(content: Any) -> str:
    """Return `content` as JSON. A number that is not finite becomes null: JSON has no NaN.

    >>> print(json_text({"loss": [1.5, float("nan")]}))
    {
      "loss": [
        1.5,
        null
      ]
    }
    """

    def finite(value):
        if isinstance(value, dict):
            return {key: finite(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [finite(one) for one in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(content), indent=2, allow_nan=False)


def remove_leftovers(folder: str | Path, name: str | None = None) -> None:
    """Delete the temporary files that a killed `atomic_path` has left in `folder`, those of all names or of `name`."""
    pattern = _prefix("*" if name is None else glob.escape(name))
    for leftover in Path(folder).glob(f"{pattern}*"):
        leftover.unlink(missing_ok=True)


def open_own(path: str | os.PathLike[str], mode: str) -> IO[str]:
    """Open a text file of the run's own, made if it is missing; refuse a link to another file.

    Several people may write to a folder of runs, and a link that one of them has left there would have another's
    training write over a file elsewhere. `mode` is "a" or "a+".

    Raises OSError with ELOOP for a link, symbolic or hard, and for anything that is no file.

    >>> import tempfile, pathlib
    >>> with open_own(pathlib.Path(tempfile.mkdtemp()) / "log.csv", "a") as file:
    ...     _ = file.write("epoch")
    """
    return open(path, mode, newline="", encoding="utf-8", opener=_open_own)


def _open_own(path, flags):
    refusal = OSError(
        errno.ELOOP, "expected a file of the run's own, found a link or no file: remove it", str(path)
    )
    try:
        # O_NONBLOCK, since a pipe would wait for a reader. Windows has neither.
        handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):  # EMLINK on BSD; ENXIO of a pipe
            raise refusal from None
        raise
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:  # 0: its last owner has just removed it
        return handle
    os.close(handle)
    raise refusal


def _concerns(path, named):
    """Return True if an error that names this file, or none, is about writing `path`."""
    if not isinstance(named, str):
        return named is None
    return Path(named) in path.parents or Path(named).name.startswith(_prefix(path.name))


def _prefix(name):
    return f".{name}.partial-"


def _sync(path):
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder cannot be opened on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
