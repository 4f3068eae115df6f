"""Calls that write, draw or remember."""

import keras
import numpy as np
from keras import ops

from flowkit.bijectors import ActNorm, Scale, Shift
from flowkit.contract import Bijector, BijectorSpec
from flowkit.contract.adaptation import normalizing
from tests.testing.wrong_bijectors.registry import breaks


@breaks("purity", says="forward to leave weight")
class CountsCalls(Shift):
    def build(self, x_shape):
        super().build(x_shape)
        self.calls = self.add_weight(shape=(), initializer="zeros", name="calls", trainable=False)

    def _forward(self, x):
        self.calls.assign(self.calls + 1)
        return super()._forward(x)


@breaks("purity", says="the same output of forward each time")
class NoisyForward(Shift):
    def _forward(self, x):
        noise = 1e-3 * np.random.normal(size=tuple(x.shape[1:]))
        return x + self.shift + ops.convert_to_tensor(noise, dtype=x.dtype), 0.0


@breaks("purity", says="from a fresh layer and from one that was called before")
class AnswersFromMemory(Scale):
    """The first answer for a shape is the answer for ever."""

    def build(self, x_shape):
        super().build(x_shape)
        self.__dict__["cache"] = {}

    def _forward(self, x):
        if isinstance(x, keras.KerasTensor):
            return super()._forward(x)
        key = tuple(x.shape)
        if key not in self.cache:
            self.cache[key] = super()._forward(x)
        return self.cache[key]


@breaks("purity", says="the same output of inverse each time")
class InverseFromMemory(Scale):
    """inverse returns what forward was last given."""

    def build(self, x_shape):
        super().build(x_shape)
        self.__dict__["last"] = None

    def _forward(self, x):
        self.__dict__["last"] = x
        return super()._forward(x)

    def _inverse(self, z):
        x, log_det = super()._inverse(z)
        last = self.__dict__["last"]
        same = last is not None and tuple(last.shape) == tuple(z.shape)
        return (last if same else x), log_det


@breaks("adaptation", says="forward to refuse before adapt")
class AdaptsByItself(ActNorm):
    """Initialises itself in the first call, without being asked."""

    def _check_adapted(self):
        return True


@breaks("adaptation", says="unchanged by a second adapt")
class AdaptsAgain(ActNorm):
    """Each adapt moves the statistics further."""

    def _adapt(self, x):
        shift, log_scale = normalizing(x)
        self.shift.assign(self.shift + shift)
        self.logs.assign(log_scale / self.factor)
        self.flag.assign(True)


@breaks("adaptation", says="adapt to set the flag")
class ForgetsTheFlag(ActNorm):
    """adapt does its work and does not say so."""

    def _adapt(self, x):
        shift, log_scale = normalizing(x)
        self.shift.assign(shift)
        self.logs.assign(log_scale / self.factor)


@breaks("adaptation", says="a saved, non-trainable weight named 'adapted'")
class FlagIsNoWeight(Bijector):
    """The flag is a Python attribute, and is lost on saving."""

    spec = BijectorSpec(log_det="zero")

    def build(self, x_shape):
        self.shift = self.add_weight(shape=(x_shape[-1],), initializer="zeros", name="shift")
        self.ready = False

    def _adapt(self, x):
        self.shift.assign(normalizing(x)[0])
        self.ready = True

    def _forward(self, x):
        return x + self.shift, 0.0

    def _inverse(self, z):
        return z - self.shift, 0.0


@breaks("adaptation", says="from data whose first column is constant")
class DividesByZero(ActNorm):
    """The deviation of a column that does not vary is 0, and its logarithm has no bound."""

    def _adapt(self, x):
        self.shift.assign(-ops.mean(x, axis=0))
        self.logs.assign(-ops.log(ops.std(x, axis=0)) / self.factor)
        self.flag.assign(True)


class InTraining(keras.layers.Layer):
    """Adds 1 in training."""

    def call(self, x, training=False):
        return x + 1.0 if training else x


@breaks("purity", says="the same log_det of forward in training as elsewhere")
class WrongInTraining(Scale):
    def build(self, x_shape):
        super().build(x_shape)
        self.mode = InTraining(dtype=self.dtype_policy)

    def _forward(self, x):
        z, log_det = super()._forward(x)
        return z, self.mode(log_det)
