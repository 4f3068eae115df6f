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


def spare_tensorflow():
    """Make Keras treat TensorFlow as absent, unless it is the engine or already imported.

    When a layer is stored or cloned, Keras imports TensorFlow to find out if a part is TensorFlow's: two seconds. For
    processes that run only flowkit, since Keras's own exports to TensorFlow need it.
    """
    lazy = _lazy_tensorflow()
    if lazy is not None:
        _set_available(lazy, False)


@contextlib.contextmanager
def sparing_tensorflow():
    """Enter a scope of `spare_tensorflow`."""
    lazy = _lazy_tensorflow()
    if lazy is None:
        yield
        return
    before = _set_available(lazy, False)
    try:
        yield
    finally:
        _set_available(lazy, before)


def _lazy_tensorflow():
    """Return Keras's lazy module of TensorFlow, or None if TensorFlow is the engine or already imported."""
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules:
        return None
    from keras.src.utils import module_utils

    return module_utils.tensorflow


def _set_available(lazy, available):
    """Set whether Keras takes a module for installed, None to find out; return the value before."""
    before, lazy._available = lazy._available, available
    return before
