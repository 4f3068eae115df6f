"""The only code that imports torch, jax or tensorflow: one class for each engine, over a base class with defaults."""

import importlib

from flowkit._engine import ENGINES, installed, require_engine

require_engine()

import keras  # noqa: E402  (after the engine is known to be there)

from flowkit.engines.absent import spare_tensorflow, sparing_tensorflow  # noqa: E402
from flowkit.engines.base import Engine  # noqa: E402
from flowkit.engines.foreign_files import plain_array, read_tensorflow_checkpoint, read_torch_state  # noqa: E402
from flowkit.engines.stretch import Stretch  # noqa: E402

__all__ = [
    "ENGINES",
    "Engine",
    "Stretch",
    "engine",
    "installed",
    "plain_array",
    "read_tensorflow_checkpoint",
    "read_torch_state",
    "spare_tensorflow",
    "sparing_tensorflow",
]

_CLASSES = {
    "torch": "TorchEngine",
    "jax": "JaxEngine",
    "tensorflow": "TensorFlowEngine",
    "numpy": "NumpyEngine",
}


def _chosen():
    name = keras.backend.backend()
    return getattr(importlib.import_module(f"flowkit.engines.{name}"), _CLASSES[name])()


engine: Engine = _chosen()  # the one that Keras runs on
