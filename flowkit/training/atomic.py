"""Files that are replaced as a whole, so that a kill at any moment leaves no torn file."""

import contextlib
import glob
import json
import os
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np


@contextlib.contextmanager
def atomic_path(path: str | Path, *, keep: str | Path | None = None) -> Iterator[Path]:
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
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
    except OSError as error:
        # A full disk, for example. The user knows `path`, not the temporary file.
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def add_arrays(archive: zipfile.ZipFile, arrays: Mapping[str, np.ndarray]) -> None:
    """Write {name: array} into an open zip file as members NAME.npy, as in an .npz file, without pickles."""
    for name, array in arrays.items():
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


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
    # Python writes NaN, Infinity and -Infinity, and calls `parse_constant` for them when it reads them.
    finite = json.loads(json.dumps(content), parse_constant=lambda name: None)
    return json.dumps(finite, indent=2)


def remove_leftovers(folder: str | Path, name: str | None = None) -> None:
    """Delete the temporary files that a killed `atomic_path` has left in `folder`, those of all names or of `name`."""
    pattern = _prefix("*" if name is None else glob.escape(name))
    for leftover in Path(folder).glob(f"{pattern}*"):
        leftover.unlink(missing_ok=True)


def _prefix(name):
    return f".{name}.partial-"
