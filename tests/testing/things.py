"""Bijectors that other processes import by name."""

import os

import keras
from keras import ops

from flowkit.bijectors import Coupling, Elementwise, Exp, Scale
from flowkit.conditioners import MLP
from flowkit.contract import Bijector
from flowkit.contract.call import Call
from flowkit.engines import engine


class Right(Scale):
    pass


class Wrong(Exp):
    def _forward(self, x):
        return ops.exp(x), 2 * x


class RightOnlyHere(Scale):
    """Its log-det has the wrong sign on any engine but the one that THINGS_HERE names."""

    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, log_det if engine.name == os.environ["THINGS_HERE"] else -log_det


def engine_of(command="true"):
    """Must not be called: it does not make a bijector."""
    os.system(command)


def coupling():
    return Coupling(MLP([4]))


class Slip(Bijector):
    """A name that does not exist, where both directions begin."""

    def _forward(self, x):
        return ops.expp(x), 0.0

    def _inverse(self, z):
        return self._forward(z)


class SlipInBuild(Bijector):
    def build(self, x_shape):
        self.shift = self.add_wait(shape=x_shape[1:])

    def _forward(self, x):
        return x + self.shift, 0.0

    def _inverse(self, z):
        return z - self.shift, 0.0


class SlipInInverse(Bijector):
    """No inverse, and a log-det of forward that is wrong as well."""

    def _forward(self, x):
        return 2 * x, 1.0

    def _inverse(self, z):
        return ops.halve(z), -1.0


@keras.saving.register_keras_serializable("things")
class WrongAfter(Bijector):
    """What another bijector does, with the sign of its log-det, and 1, forgotten."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other = other

    def build(self, x_shape):
        self.other.build_for(x_shape)

    def _forward(self, x):
        z, log_det = self.other.run(x, Call())
        return z, 1 - log_det

    def _inverse(self, z):
        x, log_det = self.other.run(z, Call(inverse=True))
        return x, -1 - log_det

    def get_config(self):
        return {**super().get_config(), "other": keras.saving.serialize_keras_object(self.other)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("other")), **config)


class Forgetful(Elementwise):
    """Its config does not tell what it keeps as a private attribute."""

    def __init__(self, shift=0.0, **kwargs):
        super().__init__(**kwargs)
        self._private = shift

    def _forward(self, x):
        return x + self._private, ops.zeros_like(x)

    def _inverse(self, z):
        return z - self._private, ops.zeros_like(z)

    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "shift"}


class Silent(Forgetful):
    def get_config(self):
        raise RuntimeError("nothing to tell")


class Closed(Elementwise):
    """Its __init__ takes none of what every layer's config holds."""

    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def _forward(self, x):
        return x + self.shift, 0.0

    def _inverse(self, z):
        return z - self.shift, 0.0


class Summed(Elementwise):
    """Its hooks sum over the event, which the class does."""

    def _forward(self, x):
        return 2 * x, ops.sum(0 * x + 0.6931471805599453, axis=-1)

    def _inverse(self, z):
        return z / 2, -ops.sum(0 * z + 0.6931471805599453, axis=-1)


class Undeclared(Elementwise):
    """Onto the positive numbers, and does not say so."""

    def _forward(self, x):
        return ops.exp(x), x

    def _inverse(self, z):
        return ops.log(z), -ops.log(z)
