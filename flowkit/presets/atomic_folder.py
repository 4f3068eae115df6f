"""Folders that are there as a whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flowkit.presets.errors import PresetError


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` when the block ends without an error.

    Its files are on the disk before it is renamed, in a single step. Raises PresetError before anything is written if
    there is something at `path` already, other than an empty folder: what somebody has put there is not written over.
    """
    path = Path(os.path.abspath(path))
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        found = "one with files in it" if path.is_dir() else "a file"
        raise PresetError(f"{path}: expected a new folder, found {found}: remove it, or choose another.")
    if path == Path.cwd():  # renaming another into its place would leave the caller in a folder that is gone
        raise PresetError(
            f"{path}: expected a new folder, received the one that you are in: name one inside it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.partial-"))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb+") as handle:
                    os.fsync(handle.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)  # mkdtemp gives 0700
        if path.exists():
            path.rmdir()  # Windows renames to what is not there
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
