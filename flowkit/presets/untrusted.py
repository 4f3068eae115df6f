"""Refuse code and endless work in the config of a file from others.

Keras refuses code by itself, unless `keras.config.enable_unsafe_deserialization()` was called; here code is always
refused. Keras checks the weights: it refuses links, data in other files, and sizes far above what a file holds.
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

from flowkit.presets.errors import PresetError

# Layers that run what their config holds: Python's byte code, a pickle, or a graph of TensorFlow.
_CODE = ("__lambda__", "Lambda", "TorchModuleWrapper", "TFSMLayer")
# Keras imports modules of these packages by name, and would import a folder of that name in the working folder.
_IMPORTED_BY_KERAS = ("keras_hub", "keras_cv", "keras_nlp")
# A Glow with 6 levels of 32 steps, each a layer of its own, has 300,000 bytes and 1,800 parts.
_MOST_BYTES, _MOST_PARTS = 2**22, 10_000


def check_config(path: Path) -> None:
    """Raise PresetError if a config.json, or that in a .keras file, is damaged, too large, or holds code."""
    try:
        config = json.loads(_read(path))
        if not isinstance(config, dict):
            raise ValueError(f"a {type(config).__name__}")
    except (ValueError, RecursionError) as error:
        raise PresetError(f"{path}: expected the config of a flow, got something else ({error}).") from None
    parts = 0
    for item, copies in _dictionaries(config):
        _refuse_code(item, path)
        parts += copies * ("class_name" in item)
        if parts > _MOST_PARTS:
            raise PresetError(
                f"{path}: expected a config of at most {_MOST_PARTS} parts, got more: building them might take hours."
            )


def _read(path):
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as file, file.open("config.json") as member:
            content = member.read(_MOST_BYTES + 1)
    else:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise PresetError(f"{path}: expected a config of at most {_MOST_BYTES} bytes, got more.")
    return content


def _dictionaries(config):
    """Yield each dictionary of a config, at any depth, and how many copies of it the `Repeat`s around it make."""
    waiting = [(config, 1)]
    while waiting:
        item, copies = waiting.pop()
        if isinstance(item, dict):
            yield item, copies
            n = item.get("n") if "block" in item else 1
            copies *= n if isinstance(n, int) and n > 1 else 1
            waiting.extend((value, copies) for value in item.values())
        elif isinstance(item, list):
            waiting.extend((value, copies) for value in item)


def _refuse_code(item: dict[str, Any], path: Path) -> None:
    kind = str(item.get("class_name")).rpartition(".")[2]  # "layers.Lambda" of the module "keras" is one too
    if kind in _CODE:
        raise PresetError(
            f"{path} contains code, a {kind.strip('_')}, and flowkit runs no code of files: make it a layer of your "
            "own, registered with @keras.saving.register_keras_serializable()."
        )
    package = str(item.get("module")).partition(".")[0]
    if package in _IMPORTED_BY_KERAS and package not in sys.modules:
        raise PresetError(f"{path} names a class of {package!r}, which is not imported: import it first.")
