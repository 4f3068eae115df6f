"""Files of a flow: Keras's, with the same bytes for the same flow, and presets; how their configs come back."""

import errno
import io
import json
import math
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

import flowkit
from flowkit.contract.configured import restored, stored
from flowkit.data.typed_columns import restored_columns
from flowkit.engines import engine
from flowkit.objectives import MaximumLikelihood, Objective
from flowkit.presets.errors import PresetError, reason, unregistered
from flowkit.presets.folder import read_preset, write_preset
from flowkit.presets.hub import find_preset
from flowkit.presets.untrusted import check_config

_PARTS = ("bijector", "base", "embedding", "dequantize")
_COLUMNS = ("columns", "context_columns")

# Files


def save(write: Callable[..., None], filepath: Any, overwrite: bool, zipped: bool | None) -> None:
    """Save by Keras's `write(path, overwrite, zipped)` beside `filepath`, then put the file in its place."""
    path = Path(os.path.realpath(filepath))  # a link stays one
    ours = "://" not in str(filepath) and (path.suffix == ".keras" or zipped is False)
    if not ours or (path.exists() and not overwrite):  # Keras uploads it, refuses the name or asks
        write(filepath, overwrite, zipped)
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        written, undated = Path(folder, "flow.keras"), Path(folder, "undated.keras")
        write(written, True, None)
        _forget_the_moment(written, undated)
        if zipped is False:
            shutil.unpack_archive(undated, path, "zip")
            return
        if path.is_file():
            shutil.copymode(path, undated)
        os.replace(undated, path)


def _forget_the_moment(source, target):
    """Copy a zip file without what differs between equal flows: dates, and addresses in memory of shared objects."""
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(target, "w") as file:
        for name in sorted(given.namelist()):
            entry = zipfile.ZipInfo(name)  # of 1980, the first year of zip files
            with given.open(name) as content, file.open(entry, "w", force_zip64=True) as place:
                if name == "metadata.json":
                    dated = json.load(content) | {"date_saved": "1980-01-01@00:00:00"}
                    place.write(json.dumps(dated).encode())
                elif name == "config.json":
                    place.write(json.dumps(_renumbered(json.load(content), {})).encode())
                else:
                    shutil.copyfileobj(content, place, 2**20)


def _renumbered(item, numbers):
    """Return a config with its shared objects numbered from 1."""
    if isinstance(item, list):
        return [_renumbered(inner, numbers) for inner in item]
    if not isinstance(item, dict):
        return item
    item = {key: _renumbered(inner, numbers) for key, inner in item.items()}
    if "shared_object_id" in item:
        item["shared_object_id"] = numbers.setdefault(item["shared_object_id"], len(numbers) + 1)
    return item


def check_file(path: Path) -> None:
    """Raise PresetError if there is no .keras file at `path`."""
    if not path.is_file():
        raise PresetError(f"{path}: expected a .keras file, found {'a folder' if path.is_dir() else 'none'}")
    if not zipfile.is_zipfile(path):
        raise PresetError(f"{path}: expected a .keras file, received one that is damaged or something else")


def load_file(path: Path) -> Any:
    """Return the flow in a .keras file from others. Raises PresetError if it holds code, or cannot be read."""
    check_file(path)
    check_config(path)
    return _loaded(path, flowkit.Flow, path, {})


def _loaded(path, kind, name, versions):
    """Return the flow of a file or folder that runs no code; errors call it `name`."""
    try:
        flow = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged or foreign config leads Keras to any
        by = " and ".join(f"{package} {version}" for package, version in versions.items()) or "unknown"
        raise PresetError(
            f"{name} cannot be loaded: {reason(error)}; it is damaged, or written by another version ({by}) "
            f"than flowkit {flowkit.__version__} and keras {keras.__version__}."
        ) from error
    if not isinstance(flow, kind):
        raise PresetError(f"{name}: got a {type(flow).__name__}, expected a {kind.__name__}.")
    return flow


# Presets


def from_preset(cls: type, preset: Any) -> Any:
    """Return the flow of a preset: see `Flow.from_preset`."""
    found = read_preset(find_preset(preset))
    return _loaded(found.folder, cls, preset, found.metadata.get("versions") or {})


def save_to_preset(flow: Any, folder: Any, rows: Any, context: Any, about: Any, extra: Any) -> None:
    """Write a flow as a preset: see `Flow.save_to_preset`."""
    if not flow.built or flow.event_shape is None:
        raise ValueError("save_to_preset expected a flow with weights: call build, adapt or fit first.")
    plain = _uncompiled(flow)
    extra = dict(extra or {})
    if rows is not None:
        file = io.BytesIO()
        its_context: dict[str, Any] = {} if context is None else {"context": np.asarray(context)}
        np.savez(file, rows=np.asarray(rows), log_prob=plain.log_prob(rows, context), **its_context)
        extra["check.npz"] = file.getvalue()
    versions = {"flowkit": flowkit.__version__, "keras": keras.__version__, engine.name: engine.version()}
    metadata: Mapping[str, Any] = {
        "event_shape": list(flow.event_shape),
        "num_classes": flow.num_classes,
        "parameters": sum(math.prod(weight.shape) for weight in flow.trainable_weights),
        "versions": versions,
        **(about or {}),
    }
    write_preset(folder, lambda path: plain.save(path, zipped=False), metadata, extra)


def _uncompiled(flow):
    """Return a flow with the same weights that was never compiled: a file would hold the optimizer's moments."""
    config = keras.saving.serialize_keras_object(flow)
    config["compile_config"] = None
    try:
        plain = keras.saving.deserialize_keras_object(config)
    except TypeError as error:
        if (unknown := unregistered(error)) is None:
            raise
        raise PresetError(
            f"save_to_preset expected classes that Keras knows by name, received {unknown[1]!r} of {unknown[0]!r}: "
            'put @keras.saving.register_keras_serializable("mypkg") above it, with a name of yours.'
        ) from error
    plain.set_weights(flow.get_weights())
    return plain


# Configs


def config_of(flow: Any) -> dict[str, Any]:
    """Return the parts and columns of a flow as a config."""
    columns = {name: getattr(flow, name) for name in _COLUMNS}
    return {
        **{name: stored(getattr(flow, name)) for name in _PARTS},
        **{name: found and found.stored() for name, found in columns.items()},
    }


def from_config(cls: type, config: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    """Return the flow of a config."""
    config = dict(config)
    columns = {name: config.pop(name, None) for name in _COLUMNS}
    flow = cls(**config | {name: restored(config[name], custom_objects) for name in _PARTS if name in config})
    for name, found in columns.items():
        setattr(flow, name, restored_columns(found))
    return flow


# Objectives


def stored_objective(objective: Objective) -> dict[str, Any] | None:
    """Return the entry of an objective in a `compile` config, {} for the default; warn and return None for no entry.

    The flow is then saved as one that was never compiled: it is not lost because of an objective that no file can hold.
    """
    if type(objective) is MaximumLikelihood:
        return {}
    try:
        config = keras.saving.serialize_keras_object(objective)
        keras.saving.deserialize_keras_object(config)
    except Exception as error:  # of code that is not ours
        why = str(error).strip().split("\n")[0].rstrip(".")
        warnings.warn(
            f"{type(objective).__name__} cannot be saved, and the flow is saved as if it were not compiled: {why}. "
            "Register what the objective is made of with @keras.saving.register_keras_serializable(), or call "
            "compile(optimizer, loss=...) on the loaded flow.",
            stacklevel=2,
        )
        return None
    return {"objective": config}
