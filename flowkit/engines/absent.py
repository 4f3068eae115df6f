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
        _set_available(lazy, False)


@contextlib.contextmanager
def sparing_tensorflow():
    """A scope of `spare_tensorflow`."""
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
