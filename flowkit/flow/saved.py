"""What a flow writes into a file, and how it comes back."""

import errno
import io
import math
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

import flowkit
from flowkit.contract.inside import keras_layers
from flowkit.contract.one_line import one_line
from flowkit.contract.saving import refuse_late
from flowkit.data.frame import Columns
from flowkit.engines import engine
from flowkit.flow.same_bytes import put_in_place
from flowkit.flow.turns import Turns, alone
from flowkit.presets.errors import PresetError, import_first, unregistered
from flowkit.presets.find import find_preset
from flowkit.presets.folder import read_preset, write_preset


class Saved(keras.Model):
    """The part of `flowkit.Flow` that is saved and loaded."""

    __repr__ = one_line
    bijector: Any
    base: Any
    embedding: Any
    dequantize: Any
    columns: Columns | None
    context_columns: Columns | None
    event_shape: tuple[int, ...] | None
    num_classes: Any
    turns: Turns
    _late: frozenset[str]

    def save(
        self, filepath: str | Path, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Keras's `save`: the same bytes for the same flow, in place of an older file only once they are written."""
        with self.turns.answer("save"):
            self._refuse_late()
            engine.settle(self)
            path = Path(os.path.realpath(filepath))  # a link stays one
            ours = "://" not in str(filepath) and (path.suffix == ".keras" or zipped is False)
            if not ours or (path.exists() and not overwrite):  # Keras uploads it, refuses the name or asks
                super().save(filepath, overwrite, zipped, **kwargs)
                return
            if not path.parent.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
                written = Path(folder, "flow.keras")
                super().save(written, **kwargs)
                put_in_place(written, path, zipped is not False)

    @classmethod
    def from_preset(cls, preset: str | os.PathLike[str]) -> Self:
        """The flow of a preset: "glow/digits" and what else comes with flowkit, a folder, or "hf://user/name".

        All its files but the README are compared with their SHA-256 first, and none runs code. hf:// needs
        huggingface_hub, and keeps what it has downloaded. Layers of your own must be registered before, as for
        `keras.saving.load_model`.

        Raises PresetError, a ValueError, if there is no such preset, if it is damaged, of a newer flowkit, brings code,
        or is another kind of flow than `cls`.

        >>> flow = flowkit.Flow.from_preset("glow/digits")
        >>> flow.sample(2, seed=0).shape
        (2, 8, 8, 1)
        """
        folder = find_preset(preset)
        found = read_preset(folder)
        try:
            flow = keras.saving.load_model(found.folder, compile=False, safe_mode=True)
        except Exception as error:  # what a foreign config leads Keras to
            raise PresetError(f"{preset} cannot be loaded: {_reason(error, found)}.") from error
        if not isinstance(flow, cls):
            raise PresetError(f"{preset}: expected a {cls.__name__}, found a {type(flow).__name__}.")
        return flow

    def save_to_preset(
        self,
        folder: str | os.PathLike[str],
        *,
        rows: Any = None,
        context: Any = None,
        about: Mapping[str, Any] | None = None,
        extra: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write the flow as a preset into `folder`, a new one: config, weights, metadata and a README, at once.

        - `rows`, with their `context`: some data (a batch) that are kept beside what `log_prob` says of them, in
          check.npz, so that whoever loads the flow can see that it answers as it did.
        - `about`: what metadata.json and README.md also say: `license`, `description`, `data` ({"name", "sha256"}),
          `measured` (such as {"test_bits_per_dim": 3.6}).
        - `extra`: further files, name -> content: recipe.toml, and pictures such as samples.png.

        Optimizer and objective stay behind. Raises ValueError for a flow that is not built, and PresetError if there is
        something in `folder` already, `extra` has a file of another name, or a class of yours is not registered.

        >>> import tempfile
        >>> folder = tempfile.mkdtemp() + "/mine"
        >>> flow = flowkit.zoo.nsf(features=2, layers=2, hidden=[8])
        >>> flow.save_to_preset(folder, about={"license": "cc0-1.0"})
        >>> flowkit.Flow.from_preset(folder).event_shape
        (2,)
        """
        if not self.built or self.event_shape is None:
            raise ValueError("save_to_preset expected a flow with weights: call build, adapt or fit first.")
        with self.turns.answer("save"):
            self._refuse_late()
            flow = self._uncompiled()
        extra = dict(extra or {})
        if rows is not None:
            extra["check.npz"] = _checked(flow, rows, context)
        told = {
            "event_shape": list(self.event_shape),
            "num_classes": self.num_classes,
            "parameters": sum(math.prod(weight.shape) for weight in self.trainable_weights),
            "versions": {
                "flowkit": flowkit.__version__,
                "keras": keras.__version__,
                engine.name: engine.version(),
            },
        }
        write_preset(folder, lambda path: _save_unpacked(flow, path), {**told, **(about or {})}, extra)

    def _uncompiled(self):
        """A flow with the same weights that was never compiled: a file would hold the optimizer's moments."""
        config = keras.saving.serialize_keras_object(self)
        config["compile_config"] = None
        try:
            flow = keras.saving.deserialize_keras_object(config)
        except TypeError as error:
            if (unknown := unregistered(error)) is None:
                raise
            raise PresetError(
                f"save_to_preset expected classes that Keras knows by name, received {unknown[1]!r} of {unknown[0]!r}: "
                'put @keras.saving.register_keras_serializable("mypkg") above it, with a name of yours.'
            ) from error
        flow.set_weights(self.get_weights())
        return flow

    def get_config(self) -> dict[str, Any]:
        store = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "bijector": store(self.bijector),
            "base": store(self.base),
            "embedding": None if self.embedding is None else store(self.embedding),
            "dequantize": None if self.dequantize is None else store(self.dequantize),
            "columns": _stored(self.columns),
            "context_columns": _stored(self.context_columns),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        parts = {
            part: config[part] and keras.saving.deserialize_keras_object(config[part], custom_objects)
            for part in ("bijector", "base", "embedding", "dequantize")
            if part in config  # older files know of no embedding
        }
        config = dict(config)
        columns, of_context = (config.pop(name, None) for name in ("columns", "context_columns"))
        flow = cls(**config | parts)
        flow.columns, flow.context_columns = _restored(columns), _restored(of_context)
        return flow

    # Weights as a whole may be asked for from a callback, in the middle of an epoch

    def get_weights(self) -> Any:
        """Keras's."""
        with self.turns.answer("get_weights"):
            engine.settle(self)
            return super().get_weights()

    @alone
    def set_weights(self, weights: Any) -> None:
        """Keras's."""
        super().set_weights(weights)
        self.bijector._adapted = None  # they may be from before `adapt`

    def save_own_variables(self, store: Any) -> None:
        with self.turns.answer("save"):
            self._refuse_late()
            engine.settle(self)
            super().save_own_variables(store)

    def _refuse_late(self):
        refuse_late(
            self.base, self._late & {layer.name for layer in keras_layers(self.base) if layer.variables}
        )

    def load_own_variables(self, store: Any) -> None:
        refuse_late(self.base, self._late)
        with self.turns.alone("load_weights"):
            engine.settle(self)
            super().load_own_variables(store)


def _save_unpacked(flow, folder):
    """Write the files of a .keras file into `folder`.

    Keras makes the HDF5 file of a zipped model in memory. Written to a full disk, HDF5 ends the process.
    """
    whole = Path(folder, "flow.keras")
    flow.save(whole)
    with zipfile.ZipFile(whole) as file:
        file.extractall(folder)
    whole.unlink()


def _stored(columns):
    """Columns as JSON; None stays None."""
    return None if columns is None else [list(columns.names), columns.library]


def _restored(stored):
    return stored and Columns(tuple(stored[0]), stored[1])


def _checked(flow, rows, context):
    """The content of check.npz."""
    file = io.BytesIO()
    given: dict[str, Any] = {} if context is None else {"context": np.asarray(context)}
    np.savez(file, rows=np.asarray(rows), log_prob=flow.log_prob(rows, context), **given)
    return file.getvalue()


def _reason(error, preset):
    """Keras tells every config on the way to the fault: the first sentence of the innermost, and the versions."""
    told = str(error).split("Exception encountered: ")[-1]
    first = re.split(r"\.\s|\n", told.strip(), maxsplit=1)[0].rstrip(".")[:200] or type(error).__name__
    if (unknown := unregistered(error)) is not None:
        first = import_first(*unknown)
    versions = preset.metadata.get("versions")
    by = " and ".join(f"{name} {version}" for name, version in versions.items()) if versions else "unknown"
    return f"{first}; written by {by}, here are flowkit {flowkit.__version__} and keras {keras.__version__}"
