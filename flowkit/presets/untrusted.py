"""Check what a file of others holds before Keras reads it.

Keras refuses code by itself (`safe_mode`), unless `keras.config.enable_unsafe_deserialization()` was called; here it is
refused in any case. It does not refuse small files that declare gigabytes, nor links to other files of this machine.
"""

import json
import sys
import zipfile
from pathlib import Path

import h5py

from flowkit.presets.errors import PresetError

# That of Glow with 6 levels of 32 steps, each a layer of its own, has 300,000 bytes and 1,800 parts.
MOST_JSON, _MOST_PARTS = 2**22, 10_000  # bytes; layers, transforms, initializers and the like
_MOST_EXPANSION, _SMALL = (
    4,
    2**20,
)  # of weights: bytes in memory for one on the disk, and what any file may have
_LONGEST = 10_000  # characters of a text in config.json
# What runs what its config holds: Python's byte code, a pickle, or a graph of TensorFlow.
_CODE = ("__lambda__", "Lambda", "TorchModuleWrapper", "TFSMLayer")
# Keras imports their modules by name, and a folder of the same name in the working folder would be taken for them.
_IMPORTED_BY_KERAS = ("keras_hub", "keras_cv", "keras_nlp")


def check_config(path: Path) -> None:
    """Raise PresetError for a config.json that is none, is too large, has too many parts, or brings code."""
    if path.stat().st_size > MOST_JSON:
        raise PresetError(f"{path}: expected at most {MOST_JSON} bytes, received {path.stat().st_size}.")
    refuse_config(path.read_bytes(), path)


def check_file(path: Path) -> None:
    """Raise PresetError if the config in a .keras file is what `check_config` refuses."""
    with zipfile.ZipFile(path) as file:
        size = file.getinfo("config.json").file_size
        if size > MOST_JSON:
            raise PresetError(f"{path}: expected a config of at most {MOST_JSON} bytes, received {size}.")
        refuse_config(file.read("config.json"), path)


def refuse_config(content: bytes, path: Path) -> None:
    """Raise PresetError for the content of a config.json, from `path`, that is none, too large, or brings code."""
    try:
        waiting = [(json.loads(content), 1)]
    except (ValueError, RecursionError) as error:
        raise PresetError(
            f"{path}: expected JSON, received something else ({type(error).__name__})."
        ) from None
    if not isinstance(waiting[0][0], dict):
        raise PresetError(f"{path}: expected the config of a flow, got a {type(waiting[0][0]).__name__}.")
    parts = 0
    while waiting:
        item, times = waiting.pop()
        if isinstance(item, dict):
            # "layers.Lambda" of the module "keras" is one too.
            kind = str(item.get("class_name")).rpartition(".")[2]
            if kind in _CODE:
                raise PresetError(
                    f"{path} brings code, a {kind.strip('_')}, and flowkit runs no code of files: make it a layer of "
                    "your own, registered with @keras.saving.register_keras_serializable()."
                )
            package = str(item.get("module")).partition(".")[0]
            if package in _IMPORTED_BY_KERAS and package not in sys.modules:
                raise PresetError(
                    f"{path} names a class of {package!r}, which is not imported: import it first."
                )
            n = item.get("n") if "block" in item else 1  # a Repeat makes n copies of its block
            times *= n if isinstance(n, int) and n > 1 else 1
            parts += times * ("class_name" in item)
            if parts > _MOST_PARTS:
                raise PresetError(
                    f"{path}: expected a config of at most {_MOST_PARTS} parts, received more: it is damaged, or made "
                    "to take hours."
                )
            waiting.extend((value, times) for value in item.values())
        elif isinstance(item, list):
            waiting.extend((value, times) for value in item)
        elif isinstance(item, str) and len(item) > _LONGEST:
            raise PresetError(
                f"{path}: expected texts of at most {_LONGEST} characters, got one of {len(item)}."
            )


def check_weights(path: Path) -> None:
    """Raise PresetError for a model.weights.h5 that is none, declares far more than it holds, or points elsewhere."""
    most = _MOST_EXPANSION * path.stat().st_size + _SMALL
    try:
        with h5py.File(path, "r") as file:
            declared = sum(_sizes(file, path))
    except PresetError:
        raise
    except Exception as error:  # h5py raises whatever a damaged file leads it to
        first = str(error).split("\n")[0]
        raise PresetError(f"{path}: expected weights in HDF5, received something else ({first}).") from None
    if declared > most:
        raise PresetError(f"{path}: expected at most {most} bytes of weights, and it declares {declared}.")


def _sizes(group, path):
    """Yield the bytes of each data set in a group, at any depth."""
    waiting, seen = [group], set()
    while waiting:
        owner = waiting.pop()
        for name in owner:
            if not isinstance(owner.get(name, getlink=True), h5py.HardLink):
                raise PresetError(f"{path}: expected weights, found {name!r}, a link to elsewhere.")
            item = owner[name]
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise PresetError(
                        f"{path}: expected weights, found {name!r}, whose data are in another file."
                    )
                if item.dtype.hasobject:  # many entries may be one and the same long text
                    raise PresetError(f"{path}: expected weights, found {name!r}, which holds no numbers.")
                yield item.nbytes
            elif item.id not in seen:  # a hard link may lead back
                seen.add(item.id)
                waiting.append(item)
