"""An engine that is installed and not wanted."""

import contextlib
import sys

import keras


def spare_tensorflow():
    """Have Keras take TensorFlow for absent, unless it is the engine or already there.

    Whenever a layer is stored or cloned, Keras asks whether some part is TensorFlow's, and imports it to ask: two
    seconds. For processes that run nothing but flowkit, since Keras's own exports to TensorFlow need it.
    """
    lazy = _lazy_tensorflow()
    if lazy is not None:
        lazy._available = False


@contextlib.contextmanager
def sparing_tensorflow():
    """A scope in which Keras does so, for what only looks at how layers are stored."""
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
    """What Keras asks for TensorFlow, unless that is the engine or already there."""
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules:
        return None
    from keras.src.utils import module_utils

    lazy = getattr(module_utils, "tensorflow", None)
    return lazy if hasattr(lazy, "_available") else None
