"""Files that are either whole or as they were: a kill at any moment leaves no torn file."""

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(path: str | Path, *, keep: Any = None) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    The new file is flushed to the disk, then renamed over the old one in a single step, so that
    readers see the old file or the new one, never a part. The name of the temporary file ends as
    `path` does, for writers that look at the suffix. With `keep`, the file that `path` was is
    renamed to `keep` first.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic_path(path) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp gives 0600: others may read a result
        _sync(temporary)
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        # A full disk, say. It is told of the file that was asked for: nobody knows the temporary one.
        if error.errno is None or not _concerns(path, error.filename):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(path):
    """Delete the temporary files that a killed `atomic_path(path)` has left beside `path`."""
    path = Path(path)
    for leftover in path.parent.glob(f"{glob.escape(_prefix(path))}*{path.suffix}"):
        leftover.unlink(missing_ok=True)


def remove_all_leftovers(folder):
    """Delete the temporary files that a killed `atomic_path` has left in `folder`, whatever they were to become."""
    for leftover in Path(folder).glob(f"{_prefix('*')}*"):
        leftover.unlink(missing_ok=True)


def _concerns(path, named):
    """Whether an error that names this file, or none, is about writing `path`."""
    if not isinstance(named, str):
        return named is None
    return Path(named) in path.parents or Path(named).name.startswith(_prefix(path))


def _prefix(path):
    return f".{Path(path).name}.partial-"


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path):
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder cannot be opened on Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
