"""An engine that is installed and not wanted."""

import sys

import keras


def spare_tensorflow():
    """Have Keras take TensorFlow for absent, unless it is the engine or already there.

    Whenever a layer is stored or cloned, Keras asks whether some part is TensorFlow's, and imports it to ask: two
    seconds. For processes that run nothing but flowkit, since Keras's own exports to TensorFlow need it.
    """
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules:
        return
    from keras.src.utils import module_utils

    lazy = getattr(module_utils, "tensorflow", None)
    if hasattr(lazy, "_available"):
        lazy._available = False
