"""Pointwise maps between the real line, the positive numbers and bounded intervals."""

import math

import keras
from keras import ops

from flowkit.bijectors.elementwise import Elementwise
from flowkit.contract import BijectorSpec, Domain

# Written with exp, expm1 and log1p throughout: `ops.tanh` and its kin fall to float32 on JAX.


@keras.saving.register_keras_serializable("flowkit")
class Exp(Elementwise):
    """y = exp(x), from the real line onto the positive numbers."""

    spec = BijectorSpec(codomain=Domain.POSITIVE)

    def _forward(self, x):
        return ops.exp(x), x

    def _inverse(self, y):
        x = ops.log(y)
        return x, -x


@keras.saving.register_keras_serializable("flowkit")
class Softplus(Elementwise):
    """y = log(1 + exp(x)), from the real line onto the positive numbers."""

    spec = BijectorSpec(codomain=Domain.POSITIVE)

    def _forward(self, x):
        return _softplus(x), -_softplus(-x)

    def _inverse(self, y):
        log_slope = ops.log(-ops.expm1(-y))  # log(1 - exp(-y)): the log-derivative of the way forth
        return y + log_slope, -log_slope


@keras.saving.register_keras_serializable("flowkit")
class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x)), from the real line onto (0, 1)."""

    spec = BijectorSpec(codomain=Domain.UNIT_INTERVAL)

    def _forward(self, x):
        return ops.exp(-_softplus(-x)), -_softplus(x) - _softplus(-x)

    def _inverse(self, y):
        log_y, log_rest = ops.log(y), ops.log1p(-y)
        return log_y - log_rest, -log_y - log_rest


@keras.saving.register_keras_serializable("flowkit")
class Logit(Sigmoid):
    """y = log(x / (1 - x)), from (0, 1) onto the real line: `Sigmoid` read backwards."""

    spec = BijectorSpec(domain=Domain.UNIT_INTERVAL)

    def _forward(self, x):
        return Sigmoid._inverse(self, x)

    def _inverse(self, y):
        return Sigmoid._forward(self, y)


@keras.saving.register_keras_serializable("flowkit")
class Tanh(Elementwise):
    """y = tanh(x), from the real line onto (-1, 1)."""

    spec = BijectorSpec(codomain=Domain.interval(-1, 1))

    def _forward(self, x):
        # -|x| without ops.abs and ops.sign, whose gradients at 0 would make the slope there 0 for 1.
        below = ops.where(x < 0, x, -x)
        shrunk = ops.expm1(2 * below)  # in (-1, 0]: neither overflows nor cancels
        log_slope = 2 * (math.log(2) - ops.abs(x) - ops.log1p(ops.exp(-2 * ops.abs(x))))
        size = -shrunk / (2 + shrunk)
        return ops.where(x < 0, -size, size), log_slope

    def _inverse(self, y):
        x = 0.5 * (ops.log1p(y) - ops.log1p(-y))
        return x, -ops.log1p(y) - ops.log1p(-y)


def _softplus(x):
    """log(1 + exp(x)) that neither overflows for large x nor rounds to 0 before it must."""
    # No ops.maximum and ops.abs: engines disagree on their gradients at 0, where this one's is 1/2.
    negative = x < 0
    return ops.where(negative, 0, x) + ops.log1p(ops.exp(ops.where(negative, x, -x)))
