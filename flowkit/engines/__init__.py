"""The only code that imports torch, jax or tensorflow: one class for each engine, over a base class with defaults."""

import contextlib
import importlib
import sys

from flowkit._engine import ENGINES, installed, require_engine

require_engine()

import keras  # noqa: E402  (after the engine is known to be there)

from flowkit.engines.base import Engine  # noqa: E402
from flowkit.engines.foreign_files import plain_array, read_tensorflow_checkpoint, read_torch_state  # noqa: E402
from flowkit.engines.steps import Stretch  # noqa: E402

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


# TensorFlow, which Keras imports if it is installed, also if it is not the engine


@contextlib.contextmanager
def sparing_tensorflow():
    """Enter a scope in which Keras treats TensorFlow as absent, unless it is the engine or already imported.

    When a layer is stored or cloned, Keras imports TensorFlow to find out if a part is TensorFlow's: two seconds.
    """
    before = _set_available(False)
    try:
        yield
    finally:
        _set_available(before)


def spare_tensorflow():
    """Spare it for good, in a process that runs only flowkit: Keras's own exports to TensorFlow need it."""
    _set_available(False)


def _set_available(available):
    """Set whether Keras takes TensorFlow for installed, None to find out; return the value before."""
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules:
        return None
    from keras.src.utils import module_utils

    lazy = module_utils.tensorflow
    before, lazy._available = lazy._available, available
    return before
