"""Files that only an engine can read. Any engine may be running: the one that is needed is imported here."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowkit._engine import installed

_NUMPYS_FLOATS = ("torch.float16", "torch.float32", "torch.float64")


def read_tensorflow_checkpoint(path: str | Path, max_bytes: int) -> dict[str, np.ndarray]:
    """Read a TensorFlow checkpoint as {name: array}, from its prefix or the folder that holds the newest one.

    Raises ImportError if TensorFlow is not installed, ValueError for a path that holds no checkpoint, or one of
    more than `max_bytes`.
    """
    _require("tensorflow", f"{path}: a TensorFlow checkpoint")
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(path))
        shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        _check_size(
            path, sum(math.prod(shape) * types[name].size for name, shape in shapes.items()), max_bytes
        )
        return {name: plain_array(reader.get_tensor(name), name) for name in shapes}
    except Exception as error:  # TensorFlow's own, and Python's for what its C++ throws
        raise _named(path, error, "a TensorFlow checkpoint") from None


def read_torch_state(path: str | Path, max_bytes: int) -> dict[str, np.ndarray]:
    """Read a state dict that torch has saved as {name: array}, without running code that the file may hold.

    Raises ImportError if torch is not installed, ValueError for a file that holds anything else than a dict of
    names to tensors of numbers, or more than `max_bytes`.
    """
    _require("torch", f"{path}: a file of torch")
    import torch

    expected = "a state dict, as written by torch.save(model.state_dict(), path)"
    try:
        _refuse_packed(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in as many ways as there are opcodes
        raise _named(path, error, expected) from None
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{path}: expected a state dict, names to tensors, received a {type(state).__name__}"
        )
    for name, value in state.items():
        if not isinstance(name, str) or not torch.is_tensor(value):
            raise ValueError(
                f"{path}: expected a state dict, names to tensors, received {_short(repr(name))} with a "
                f"{type(value).__name__}. Save model.state_dict() alone."
            )
    _check_size(path, sum(map(_bytes_as_array, state.values())), max_bytes)
    try:
        return {name: plain_array(value, name) for name, value in state.items()}
    except ValueError as error:
        raise _named(path, error, expected) from None


def plain_array(value: Any, name: str) -> np.ndarray:
    """Return a tensor of any engine, or an array, as NumPy's; bfloat16 becomes float32, which is exact.

    Raises ValueError for a tensor of torch that does not hold its numbers one by one: sparse, quantised, nested
    or without any, as those of the device "meta" are.
    """
    if hasattr(value, "detach"):  # torch's, perhaps a parameter, perhaps on a GPU
        try:
            plain = value.detach().cpu().resolve_conj().resolve_neg()
            if plain.is_floating_point() and str(plain.dtype) not in _NUMPYS_FLOATS:
                plain = plain.float()
            return plain.numpy()
        except (TypeError, RuntimeError):
            kind = f"{value.dtype}, {value.layout}, on {value.device}"
            raise ValueError(
                f"{_short(name)}: expected dense numbers that NumPy knows, received {kind}. Save float32."
            ) from None
    array = np.asarray(value)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _bytes_as_array(tensor):
    # Floats of fewer bytes become float32.
    return tensor.numel() * max(tensor.element_size(), 4 if tensor.is_floating_point() else 1)


def _refuse_packed(path):
    """Raise ValueError for a zip file that may hold more than its size: torch allocates what a file declares."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > Path(path).stat().st_size:
        raise ValueError("it is packed, which torch.save never does")


def _check_size(path, taken, max_bytes):
    if taken > max_bytes:
        raise ValueError(
            f"{path}: expected weights of at most {max_bytes:,} bytes, received {taken:,}. Pass a higher max_bytes "
            "to read_variables if you trust the file."
        )


def _require(engine, what):
    if not installed(engine):
        raise ImportError(f"{what} needs {engine}: install it with `pip install {engine}`")


def _named(path, error, expected):
    """Return a ValueError that names the file and the expected content, and says in one line what went wrong."""
    if isinstance(error, ValueError) and str(error).startswith(f"{path}: expected"):
        return error
    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    return ValueError(f"{path}: expected {expected} ({_short(reason)})")


def _short(text):
    return ascii(text)[1:-1][:200]
