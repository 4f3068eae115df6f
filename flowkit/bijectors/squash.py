"""Pointwise maps between the real line, the positive numbers and bounded intervals."""

import math

import keras
from keras import ops

from flowkit.bijectors.elementwise import Elementwise
from flowkit.contract import BijectorSpec, Domain
from flowkit.numerics import log1mexp, log_sigmoid, softplus, tanh


@keras.saving.register_keras_serializable("flowkit")
class Exp(Elementwise):
    """y = exp(x), from the real line onto the positive numbers.

    >>> y, log_det = Exp()(ops.full((1, 2), 1.0))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (2.7183, 2.0)
    """

    pure = True
    spec = BijectorSpec(codomain=Domain.POSITIVE)

    def _forward(self, x):
        return ops.exp(x), x

    def _inverse(self, y):
        x = ops.log(y)
        return x, -x


@keras.saving.register_keras_serializable("flowkit")
class Softplus(Elementwise):
    """y = log(1 + exp(x)), from the real line onto the positive numbers.

    >>> y, log_det = Softplus()(ops.full((1, 2), 1.0))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (1.3133, -0.6265)
    """

    pure = True
    spec = BijectorSpec(codomain=Domain.POSITIVE)

    def _forward(self, x):
        return softplus(x), log_sigmoid(x)

    def _inverse(self, y):
        log_slope = log1mexp(y)  # the log-derivative of the way forth
        return y + log_slope, -log_slope


@keras.saving.register_keras_serializable("flowkit")
class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x)), from the real line onto (0, 1).

    >>> y, log_det = Sigmoid()(ops.full((1, 2), 1.0))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (0.7311, -3.253)
    """

    pure = True
    spec = BijectorSpec(codomain=Domain.UNIT_INTERVAL)

    def _forward(self, x):
        log_y = log_sigmoid(x)
        return ops.exp(log_y), log_y + log_sigmoid(-x)

    def _inverse(self, y):
        log_y, log_rest = ops.log(y), ops.log1p(-y)
        return log_y - log_rest, -log_y - log_rest


@keras.saving.register_keras_serializable("flowkit")
class Logit(Sigmoid):
    """y = log(x / (1 - x)), from (0, 1) onto the real line: `Sigmoid` read backwards.

    >>> y, log_det = Logit()(ops.full((1, 2), 0.75))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (1.0986, 3.348)
    """

    pure = True
    spec = BijectorSpec(domain=Domain.UNIT_INTERVAL)

    def _forward(self, x):
        return Sigmoid._inverse(self, x)

    def _inverse(self, y):
        return Sigmoid._forward(self, y)


@keras.saving.register_keras_serializable("flowkit")
class Tanh(Elementwise):
    """y = tanh(x), from the real line onto (-1, 1).

    >>> y, log_det = Tanh()(ops.full((1, 2), 1.0))
    >>> round(float(y[0, 0]), 4), round(float(log_det[0]), 4)
    (0.7616, -1.7351)
    """

    pure = True
    spec = BijectorSpec(codomain=Domain.interval(-1, 1))

    def _forward(self, x):
        size = ops.abs(x)
        return tanh(x), 2 * (math.log(2) - size + log_sigmoid(2 * size))

    def _inverse(self, y):
        x = 0.5 * (ops.log1p(y) - ops.log1p(-y))
        return x, -ops.log1p(y) - ops.log1p(-y)
