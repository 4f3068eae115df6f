"""The flows, the data set and the base density that the tests of flows share."""

import math

import keras
from keras import ops

from flowkit import Flow, zoo
from flowkit.bijectors import ActNorm, Chain, Conv1x1, Coupling, Permute
from flowkit.conditioners import MLP
from flowkit.transforms import Affine


def glow(**options):
    return zoo.glow(**{"levels": 2, "steps": 1, "width": 8, **options})


def vectors(context="none"):
    """A flow of 4 continuous numbers, conditional on 2 others if asked."""
    net = {"hidden": [8], "context": context}
    return Flow(
        Chain([ActNorm(), Conv1x1(), Coupling(MLP(**net)), Permute(), Coupling(MLP(**net), Affine("tanh"))])
    )


def weights(flow):
    return [ops.convert_to_numpy(weight) for weight in flow.trainable_weights]


def moved(flow, before):
    return any((one != other).any() for one, other in zip(before, weights(flow), strict=True))


def one_line(error):
    assert "\n" not in str(error)
    assert len(str(error)) < 400
    return str(error)


class Rows(keras.utils.PyDataset):
    def __init__(self, parts, size=8):
        super().__init__()
        self.parts, self.size = parts, size

    def __len__(self):
        return len(next(iter(self.parts.values()))) // self.size

    def __getitem__(self, i):
        rows = slice(i * self.size, (i + 1) * self.size)
        return ({key: value[rows] for key, value in self.parts.items()},)


@keras.saving.register_keras_serializable("flowkit-tests")
class Cube(keras.Layer):
    """log p(z) = 0 on [-1/2, 1/2), -inf outside: the uniform density of what Dequantize gives."""

    def log_prob(self, z, context=None):
        inside = ops.all(ops.logical_and(z >= -0.5, z < 0.5), axis=tuple(range(1, len(z.shape))))
        return ops.where(inside, 0.0, -math.inf)
