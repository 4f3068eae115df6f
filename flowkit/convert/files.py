"""Variables from the files in which they are found."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from flowkit.backends import read_tensorflow_checkpoint, read_torch_state


def read_variables(path):
    """Names -> arrays of an `.npz` file, a torch state dict (`.pt`, `.pth`) or a TensorFlow checkpoint.

    A checkpoint is named by its prefix (`model_best_loss.ckpt`, beside which lies
    `model_best_loss.ckpt.index`) or by its folder. No file is trusted to run code. Raises ImportError
    where TensorFlow or torch is needed and missing, FileNotFoundError, or ValueError for other contents.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.npz"
    >>> np.savez(path, **{"model/0/0/actnorm_center/b": np.zeros((1, 1, 1, 12))})
    >>> {name: array.shape for name, array in read_variables(path).items()}
    {'model/0/0/actnorm_center/b': (1, 1, 1, 12)}
    """
    path = Path(path)
    if path.is_dir() or Path(f"{path}.index").exists():
        return read_tensorflow_checkpoint(path)
    if path.name.endswith((".index", ".meta")) and path.exists():
        return read_tensorflow_checkpoint(path.with_suffix(""))
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file, and no checkpoint {path.name}.index beside it")
    if path.suffix in (".pt", ".pth"):
        return read_torch_state(path)
    return _read_npz(path)


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error):
        raise ValueError(
            f"{path}: expected an .npz file of plain arrays, a torch state dict (.pt) or a TensorFlow "
            "checkpoint's prefix"
        ) from None
