"""What a flow writes into a file, and how it comes back."""

from pathlib import Path
from typing import Any

import keras

from flowkit.contract.one_line import one_line
from flowkit.contract.saving import refuse_late
from flowkit.data.frame import Columns
from flowkit.flows.same_bytes import make_reproducible
from flowkit.flows.turns import Turns


class Saved(keras.Model):
    """The part of `flowkit.Flow` that is saved and loaded."""

    __repr__ = one_line
    bijector: Any
    base: Any
    embedding: Any
    dequantize: Any
    columns: Columns | None
    turns: Turns
    _late: frozenset[str]

    def save(self, filepath: str | Path, *args: Any, **kwargs: Any) -> None:
        """Keras's `save`, which writes the same bytes for the same flow."""
        with self.turns.answer("save"):
            self._refuse_late()  # before Keras opens the file, and with that empties it
            super().save(filepath, *args, **kwargs)
            make_reproducible(filepath)

    def get_config(self) -> dict[str, Any]:
        store = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "bijector": store(self.bijector),
            "base": store(self.base),
            "embedding": None if self.embedding is None else store(self.embedding),
            "dequantize": None if self.dequantize is None else store(self.dequantize),
            "columns": None if self.columns is None else [list(self.columns.names), self.columns.library],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        parts = {
            part: config[part] and keras.saving.deserialize_keras_object(config[part], custom_objects)
            for part in ("bijector", "base", "embedding", "dequantize")
            if part in config  # older files know of no embedding
        }
        config = dict(config)
        columns = config.pop("columns", None)
        flow = cls(**config | parts)
        flow.columns = columns and Columns(tuple(columns[0]), columns[1])
        return flow

    def save_own_variables(self, store: Any) -> None:
        with self.turns.answer("save"):
            self._refuse_late()
            super().save_own_variables(store)

    def _refuse_late(self):
        refuse_late(
            self.base, self._late & {layer.name for layer in self.base._flatten_layers() if layer.variables}
        )

    def load_own_variables(self, store: Any) -> None:
        refuse_late(self.base, self._late)
        super().load_own_variables(store)
