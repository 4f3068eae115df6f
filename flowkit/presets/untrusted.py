"""Refuse code in the config of a file from others.

Keras refuses code by itself, unless `keras.config.enable_unsafe_deserialization()` was called; here code is always
refused. Keras checks the weights: it refuses links, data in other files, and sizes far above what a file holds.
"""

import json
import sys
import zipfile
from pathlib import Path

from flowkit.presets.errors import PresetError

# Layers that run what their config holds: Python's byte code, a pickle, or a graph of TensorFlow.
_CODE = ("__lambda__", "Lambda", "TorchModuleWrapper", "TFSMLayer")
# Keras imports modules of these packages by name, and would import a folder of that name in the working folder.
_IMPORTED_BY_KERAS = ("keras_hub", "keras_cv", "keras_nlp")


def check_config(path: Path) -> None:
    """Raise PresetError if a config.json, or that in a .keras file, is damaged or holds code."""
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as file:
                config = json.loads(file.read("config.json"))
        else:
            config = json.loads(path.read_bytes())
        if not isinstance(config, dict):
            raise ValueError(f"a {type(config).__name__}")
    except (ValueError, RecursionError) as error:
        raise PresetError(f"{path}: expected the config of a flow, got something else ({error}).") from None
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        if not isinstance(item, dict):
            continue
        waiting += item.values()
        kind = str(item.get("class_name")).rpartition(".")[
            2
        ]  # "layers.Lambda" of the module "keras" is one too
        if kind in _CODE:
            raise PresetError(
                f"{path} contains code, a {kind.strip('_')}, and flowkit runs no code of files: make it a layer of "
                "your own, registered with @keras.saving.register_keras_serializable()."
            )
        package = str(item.get("module")).partition(".")[0]
        if package in _IMPORTED_BY_KERAS and package not in sys.modules:
            raise PresetError(f"{path} names a class of {package!r}, which is not imported: import it first.")
