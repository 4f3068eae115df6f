"""A prior of its own for each place of an image."""

from typing import Any

import keras
from keras import ops

from flowkit.conditioners.classes import rows_of
from flowkit.contract.arguments import Count
from flowkit.contract.configured import Configured


@keras.saving.register_keras_serializable("flowkit")
class PlacePrior(Configured, keras.Layer):
    """(mean, logs) in halves of 2c channels, free for each place of latents (batch, h, w, c); zero at the start.

    Only the shape of the latents is read, and with `num_classes` each class has numbers of its own:
    the context is integer labels (batch,). The answer's batch axis is 1 without classes. Unlike
    `TopPrior` its weights belong to one size of image. It is what normflows calls DiagGaussian and
    ClassCondDiagGaussian.

    >>> tuple(PlacePrior(num_classes=5)(ops.ones((3, 4, 4, 2)), context=ops.zeros((3,), "int32")).shape)
    (3, 4, 4, 4)
    """

    pure = True

    def __init__(self, *, num_classes: Count | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.context = "none" if num_classes is None else "required"

    def build(self, z_shape: Any, context_shape: Any = None) -> None:
        _, height, width, channels = z_shape
        self.table = self.add_weight(
            shape=(self.num_classes or 1, height, width, 2 * channels), initializer="zeros", name="table"
        )

    def call(self, z: Any, context: Any = None) -> Any:
        if self.num_classes is None:
            return ops.convert_to_tensor(self.table)
        return rows_of(self.table, context)

    def compute_output_shape(self, z_shape: Any, context_shape: Any = None) -> Any:
        return (*z_shape[:-1], 2 * z_shape[-1])
