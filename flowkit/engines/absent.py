"""Keep Keras from importing TensorFlow when it is installed and not the engine."""

import contextlib
import sys

import keras


def spare_tensorflow():
    """Have Keras treat TensorFlow as absent, unless it is the engine or already imported.

    When a layer is stored or cloned, Keras imports TensorFlow to ask whether a part is TensorFlow's: two seconds. For
    processes that run only flowkit, since Keras's own exports to TensorFlow need it.
    """
    lazy = _lazy_tensorflow()
    if lazy is not None:
        lazy._available = False


@contextlib.contextmanager
def sparing_tensorflow():
    """A scope of `spare_tensorflow`."""
    lazy = _lazy_tensorflow()
    if lazy is None:
        yield
        return
    before, lazy._available = lazy._available, False
    try:
        yield
    finally:
        lazy._available = before


def _lazy_tensorflow():
    """Return Keras's lazy module of TensorFlow, or None if TensorFlow is the engine or already imported."""
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules:
        return None
    from keras.src.utils import module_utils

    lazy = getattr(module_utils, "tensorflow", None)
    return lazy if hasattr(lazy, "_available") else None
