"""The objectives and the flow that the tests of what is compiled and what is saved share."""

import keras
import numpy as np
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Shift
from flowkit.objectives import Objective

X = np.random.default_rng(0).normal(1.5, 0.5, (64, 2)).astype("float32")


def standard_normal(x):
    return -0.5 * ops.sum(ops.square(x), axis=-1)


@keras.saving.register_keras_serializable("tests")
def around_three(x):
    return -0.5 * ops.sum(ops.square(x - 3.0), axis=-1)


class Layered(keras.Layer):
    def call(self, x):
        return standard_normal(x)


@keras.saving.register_keras_serializable("tests")
class Squares(Objective):
    """|z|^2 of data, and a count of how often it was asked."""

    def __init__(self, factor=1.0):
        self.factor, self.asked = factor, 0

    def __call__(self, flow, x, context):
        self.asked += 1
        return self.factor * ops.sum(ops.square(flow.bijector(x, context=context)[0]), axis=-1)

    def get_config(self):
        return {"factor": self.factor}


def built(bijector=None, **options):
    flow = Flow(Shift() if bijector is None else bijector, **options)
    flow.build((None, 2))
    return flow


def weights(flow):
    return [ops.convert_to_numpy(weight) for weight in flow.trainable_variables]


def fit(flow, *args, epochs=1, **options):
    return flow.fit(*args, epochs=epochs, verbose=0, **options).history
