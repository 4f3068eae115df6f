"""Bijectors that other processes import by name."""

import os

from keras import ops

from flowkit import backends
from flowkit.bijectors import Coupling, Exp, Scale
from flowkit.conditioners import MLP


class Right(Scale):
    pass


class Wrong(Exp):
    def _forward(self, x):
        return ops.exp(x), 2 * x


class OtherOnTorch(Scale):
    """Answers another way on one engine."""

    def _forward(self, x):
        z, log_det = super()._forward(x)
        return (z + 1e-3 if backends.name() == "torch" else z), log_det


class RightOnlyHere(Scale):
    """Its log-det has the wrong sign on any engine but the one that THINGS_HERE names."""

    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, log_det if backends.name() == os.environ["THINGS_HERE"] else -log_det


def coupling():
    return Coupling(MLP([4]))
