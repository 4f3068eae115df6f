"""A multilayer perceptron of angles."""

from typing import Any

import keras
from keras import ops

from flowkit.conditioners.mlp import MLP
from flowkit.numerics import cos, sin


@keras.saving.register_keras_serializable("flowkit")
class AngularMLP(MLP):
    """An `MLP` that is given angles and sees their cosines and sines: what it answers has no jump at -pi.

    Arguments are those of `MLP`.

    >>> import math
    >>> net = AngularMLP([8], features=2)
    >>> h = net(ops.convert_to_tensor([[-math.pi], [math.pi]]))
    >>> bool(ops.all(ops.abs(h[0] - h[1]) < 1e-5))
    True
    """

    pure = True

    def build(self, x_shape: Any, context_shape: Any = None) -> None:
        super().build((*x_shape[:-1], 2 * x_shape[-1]), context_shape)

    def _hidden(self, x, context):
        return super()._hidden(ops.concatenate([cos(x), sin(x)], axis=-1), context)
