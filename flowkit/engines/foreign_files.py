"""Files that only an engine can read. Any engine may be running: the one that is needed is imported here."""

import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_NUMPYS_FLOATS = ("torch.float16", "torch.float32", "torch.float64")


def read_tensorflow_checkpoint(path: str | Path, check_bytes: Callable[[int], None]) -> dict[str, np.ndarray]:
    """Read a TensorFlow checkpoint as {name: array}, from its prefix or the folder that holds the newest one.

    `check_bytes` receives the size of all arrays before they are read. Raises TensorFlow's own errors.
    """
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(path))
    shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    check_bytes(sum(math.prod(shape) * types[name].size for name, shape in shapes.items()))
    return {name: plain_array(reader.get_tensor(name), name) for name in shapes}


def read_torch_state(path: str | Path, check_bytes: Callable[[int], None]) -> dict[str, np.ndarray]:
    """Read a state dict that torch has saved as {name: array}, without running code that the file may hold.

    `check_bytes` receives the size of all arrays before they are read. Raises ValueError for a file that holds anything
    else than a dict of names to tensors of numbers, and torch's own errors.
    """
    import torch

    if zipfile.is_zipfile(path):  # which may hold more than its size: torch allocates what a file declares
        with zipfile.ZipFile(path) as file:
            check_bytes(sum(member.file_size for member in file.infolist()))
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping):
        raise ValueError(f"a {type(state).__name__}, no names to tensors")
    for name, value in state.items():
        if not isinstance(name, str) or not torch.is_tensor(value):
            raise ValueError(f"{name!r} with a {type(value).__name__}. Save model.state_dict() alone")
    check_bytes(sum(value.numel() * value.element_size() for value in state.values()))
    return {name: plain_array(value, name) for name, value in state.items()}


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
            raise ValueError(f"{name}: got {kind}, expected dense numbers.") from None
    array = np.asarray(value)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array
