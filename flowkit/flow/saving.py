"""Files of a flow: Keras's, and presets; how their configs come back."""

import contextlib
import io
import math
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import flowkit
from flowkit._registration import register_layers
from flowkit.contract.configured import restored, stored
from flowkit.data.typed_columns import restored_columns
from flowkit.engines import engine
from flowkit.flow.inputs import warn_of_nan
from flowkit.objectives import MaximumLikelihood, Objective
from flowkit.presets.folder import PresetError, check_config, count_weights, read_preset, unpack, write_preset
from flowkit.presets.hub import find_preset

if TYPE_CHECKING:
    from flowkit.flow.flow import Flow

_PARTS = ("bijector", "base", "embedding", "dequantize")
_COLUMNS = ("columns", "context_columns")
# A `Repeat` makes each weight for a copy and again for all copies; a layer may have some that no file holds.
_MOST_COPIES, _FEW = 8, 2**20
_ONE_AT_A_TIME = threading.RLock()

# Files


def save(write: Callable[..., None], filepath: Any, overwrite: bool, zipped: bool | None) -> None:
    """Save by Keras's `write(path, overwrite, zipped)`: a file beside `filepath`, which then takes its place."""
    path = Path(os.path.realpath(filepath))  # a link stays one
    is_file = path.suffix == ".keras" and zipped is not False and "://" not in str(filepath)
    if not is_file or (path.exists() and not overwrite):  # Keras uploads it, makes a folder or asks
        write(filepath, overwrite, zipped)
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{filepath}: got no folder {path.parent}, expected one that exists. Make it first."
        )
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        written = Path(folder, path.name)
        write(written, True, zipped)
        os.replace(written, path)


def load_file(path: Path) -> Any:
    """Return the flow in a .keras file from others. Raises PresetError if it holds code, or cannot be read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(path, folder)
        check_config(folder / "config.json", path)
        return _loaded(folder, flowkit.Flow, path)


def _loaded(folder, kind, name):
    """Return the flow of a checked folder; errors call it `name`."""
    register_layers()
    try:
        count = count_weights(folder / "model.weights.h5", name)
        with _at_most(_MOST_COPIES * count + _FEW, name):
            flow = keras.saving.load_model(folder, compile=False, safe_mode=True)
    except PresetError:
        raise
    except Exception as error:  # a damaged or foreign config leads Keras to any
        raise PresetError(
            f"{name} cannot be loaded: {_reason(error)}; it is damaged, or written by another version than flowkit "
            f"{flowkit.__version__} and keras {keras.__version__}."
        ) from error
    if not isinstance(flow, kind):
        raise PresetError(f"{name}: got a {type(flow).__name__}, expected a {kind.__name__}.")
    warn_of_nan(flow)
    return flow


@contextlib.contextmanager
def _at_most(count, name):
    """Enter a scope in which layers raise PresetError before they make weights of more numbers than `count`."""
    left, thread = count, threading.get_ident()

    def add_weight(layer, *args, **kwargs):
        nonlocal left
        if threading.get_ident() == thread:
            shape = args[0] if args else kwargs.get("shape") or ()
            left -= math.prod(shape if isinstance(shape, list | tuple) else (shape,))
            if left < 0:
                raise refused
        return original(layer, *args, **kwargs)

    refused = PresetError(f"{name}: got a config of more weights than the file holds, expected as many.")
    with _ONE_AT_A_TIME:
        original = keras.Layer.add_weight
        keras.Layer.add_weight = add_weight
        try:
            yield
        except Exception:  # Keras replaces those of `build`
            if left < 0:
                raise refused from None
            raise
        finally:
            keras.Layer.add_weight = original


def _reason(error: Exception) -> str:
    """Return why Keras could not load a file, in one sentence.

    >>> _reason(TypeError("Could not locate class 'Twist'. Full object config: {'module': 'mine', 'config': {}}"))[:40]
    "it holds the class 'Twist' of 'mine', wh"
    """
    # Keras puts each outer config before the innermost error.
    text = str(error).split("Exception encountered: ")[-1].strip()
    unknown = re.search(r"Could not locate class '(.+?)'.*?'module': '(.+?)'", text, re.DOTALL)
    # One of flowkit's or Keras's is damaged, or of another version.
    if unknown is not None and unknown[2].partition(".")[0] not in ("flowkit", "keras"):
        return (
            f"it holds the class {unknown[1]!r} of {unknown[2]!r}, which is neither Keras's nor flowkit's: in Python, "
            "first import the module that registers it, then load the flow"
        )
    first = re.split(r"\.\s|\n", text, maxsplit=1)[0].rstrip(".")
    return first[:200] or type(error).__name__


# Presets


def from_preset(cls: type, preset: Any) -> Any:
    """Return the flow of a preset: see `Flow.from_preset`."""
    found = read_preset(find_preset(preset))
    return _loaded(found.folder, cls, preset)


def save_to_preset(flow: "Flow", folder: Any, rows: Any, context: Any, about: Any, extra: Any) -> None:
    """Write a flow as a preset: see `Flow.save_to_preset`."""
    plain = _uncompiled(flow)
    extra = dict(extra or {})
    if rows is not None:
        file = io.BytesIO()
        its_context: dict[str, Any] = {} if context is None else {"context": np.asarray(context)}
        np.savez(file, rows=np.asarray(rows), log_prob=plain.log_prob(rows, context), **its_context)
        extra["check.npz"] = file.getvalue()
    versions = {"flowkit": flowkit.__version__, "keras": keras.__version__, engine.name: engine.version()}
    metadata: Mapping[str, Any] = {
        "event_shape": list(flow._event()),
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
    plain = keras.saving.deserialize_keras_object(config)
    plain.set_weights(flow.get_weights())
    return plain


# Configs


def config_of(flow: "Flow") -> dict[str, Any]:
    """Return the parts and columns of a flow as a config."""
    columns = {name: getattr(flow, name) for name in _COLUMNS}
    return {
        **{name: stored(getattr(flow, name)) for name in _PARTS},
        **{name: found and found.stored() for name, found in columns.items()},
    }


def from_config(cls: type, config: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    """Return the flow of a config."""
    register_layers()
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
