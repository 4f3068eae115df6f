"""A checkpoint on the disk: named arrays and what is known about them, in one .npz file with a checksum."""

import hashlib
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np

from flowkit.training.atomic import atomic_path
from flowkit.training.checkpoint_meta import check_complete
from flowkit.training.errors import CheckpointError


def write(path, arrays, meta, *, keep):
    """Write name -> array and `meta`, a dict, in a single step; the file before becomes `keep`."""
    meta = json.dumps(meta)
    checksum = _checksum(arrays, meta)
    with atomic_path(path, keep=keep) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays, meta=np.array(meta), checksum=np.array(checksum))


def read(path):
    """The arrays and the dict of `write`. Raises a ValueError, one line, if the file is not as it was written."""
    try:
        return _read(path)
    except Exception as error:
        # zipfile, zlib and NumPy, which parses a header as Python, each fail in ways of their own.
        lines = (getattr(error, "strerror", None) or str(error)).splitlines() or [type(error).__name__]
        raise ValueError(lines[0]) from error


def _read(path):
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):  # np.load would take it for a pickle, and say how to open that
            raise ValueError("it is not a whole .npz file")
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    missing = [key for key in ("meta", "checksum") if key not in arrays]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("it holds what is no array")
    meta, checksum = str(arrays.pop("meta")), str(arrays.pop("checksum"))
    if _checksum(arrays, meta) != checksum:
        raise ValueError("its checksum does not match its contents")
    return arrays, json.loads(meta)


def previous(path: Path) -> Path:
    """What becomes of the checkpoint at `path` when the next one is written."""
    return path.with_name(f"{path.stem}.previous.npz")


def newest_whole(path):
    """What `read` gives of the checkpoint at `path`, or with a warning of the one before if it is damaged.

    None if there is neither; CheckpointError if both are damaged.
    """
    reasons = []
    for file in filter(Path.exists, (path, previous(path))):
        try:
            arrays, meta = read(file)
            check_complete(meta)
        except ValueError as damage:
            reasons.append(f"{file.name}: {damage}")
            continue
        if reasons:
            warnings.warn(
                f"{reasons[0]}: the checkpoint is damaged, going on from {file.name}, the one before",
                stacklevel=3,
            )
        return arrays, meta
    if reasons:
        raise CheckpointError(
            f"no checkpoint can be read ({'; '.join(reasons)}): remove them to start afresh"
        )
    return None


def storable(array):
    """`array` in a dtype that the file has a name for, bit for bit."""
    return np.ascontiguousarray(array).view(plain_dtype(array.dtype)).reshape(array.shape)


def plain_dtype(dtype):
    """The dtype that `plain` gives."""
    # NumPy's format has no name for bfloat16: its bits travel as integers of the same size.
    return dtype if dtype.kind in "biuf" else np.dtype(f"uint{8 * dtype.itemsize}")


def _checksum(arrays, meta):
    digest = hashlib.sha256(meta.encode())
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[key]))
    return digest.hexdigest()
