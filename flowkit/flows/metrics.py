"""The running means that a flow reports."""

import keras


class MeanOfCounted(keras.metrics.Mean):
    """Keras's `Mean`, but NaN where nothing counted: Keras says 0, which of a loss would be a good one."""

    def result(self):
        return self.total.value / self.count.value
