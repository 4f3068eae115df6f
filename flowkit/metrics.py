"""The running means that a flow reports."""

import keras
from keras import ops


class MeanOfCounted(keras.metrics.Mean):
    """Keras's `Mean`, but NaN where nothing counted: Keras says 0, which of a loss would be a good one."""

    def result(self):
        return ops.where(self.count > 0, super().result(), float("nan"))
