"""Variables from the files in which they are found."""

from pathlib import Path

import numpy as np

from flowkit.backends import read_tensorflow_checkpoint, read_torch_state
from flowkit.data import MAX_BYTES
from flowkit.data.bounded import FileError, regular_size
from flowkit.data.numpy_file import NpzFile


def read_variables(path: str | Path, *, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Names -> arrays of an `.npz` file, a torch state dict (`.pt`, `.pth`) or a TensorFlow checkpoint.

    A checkpoint is named by its prefix (`model_best_loss.ckpt`, beside which lies
    `model_best_loss.ckpt.index`) or by its folder. bfloat16 becomes float32, which is exact. No file is trusted
    to run code, or to hold more than `max_bytes`. Raises ImportError if TensorFlow or torch is needed and
    missing, FileNotFoundError, or ValueError for other contents.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.npz"
    >>> np.savez(path, **{"model/0/0/actnorm_center/b": np.zeros((1, 1, 1, 12))})
    >>> {name: array.shape for name, array in read_variables(path).items()}
    {'model/0/0/actnorm_center/b': (1, 1, 1, 12)}
    """
    path = Path(path)
    if path.is_dir() or Path(f"{path}.index").exists():
        return read_tensorflow_checkpoint(path, max_bytes)
    if path.name.endswith((".index", ".meta")) and path.exists():
        return read_tensorflow_checkpoint(path.with_suffix(""), max_bytes)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file, and no checkpoint {path.name}.index beside it")
    regular_size(path)
    if path.suffix in (".pt", ".pth"):
        return read_torch_state(path, max_bytes)
    return _read_npz(path, max_bytes)


def _read_npz(path, max_bytes):
    try:
        with NpzFile(path, max_bytes) as arrays:
            return arrays.read_all()
    except FileError as error:
        raise ValueError(
            f"{path}: expected an .npz file of plain arrays, a torch state dict (.pt) or a TensorFlow "
            f"checkpoint's prefix. {error}"
        ) from None
