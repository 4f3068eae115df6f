"""Layers that do not come back as they were."""

import keras
from keras import ops

from flowkit.bijectors import Elementwise, Scale, Shift
from flowkit.contract import Bijector, BijectorSpec
from flowkit.contract.call import Call
from tests.testing.wrong_bijectors.registry import breaks


class Slope(Elementwise):
    """z = slope x, with an argument of which there is no trace in the weights."""

    spec = BijectorSpec(log_det="constant")

    def __init__(self, slope=1.5, **kwargs):
        super().__init__(**kwargs)
        self.slope = slope

    def _forward(self, x):
        return x * self.slope, ops.zeros_like(x) + ops.log(ops.cast(self.slope, x.dtype))

    def _inverse(self, z):
        return z / self.slope, ops.zeros_like(z) - ops.log(ops.cast(self.slope, z.dtype))


class Loses(Slope):
    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k != "slope"}


@breaks("config", says="slope=3.0 after a config round trip, slope=1.5")
def losing_an_argument():
    return Loses(3.0)


class Halved(Slope):
    def get_config(self):
        return {**super().get_config(), "slope": self.slope / 2}


@breaks("config", says="the same config from a layer made from it")
def config_of_a_derived_value():
    return Halved(3.0)


class Required(Loses):
    def __init__(self, slope, **kwargs):
        super().__init__(slope, **kwargs)


@breaks("config", says="missing 1 required positional argument")
def config_without_what_init_needs():
    return Required(2.0)


class Unserialisable(Slope):
    def get_config(self):
        return {**super().get_config(), "slope": (lambda: self.slope)}


@breaks("config", says="not JSON serializable")
def config_with_a_function():
    return Unserialisable(2.0)


class Inner(Bijector):
    """A part given as an argument is handed over as an object."""

    spec = BijectorSpec(log_det="zero")

    def __init__(self, part=None, **kwargs):
        super().__init__(**kwargs)
        self.part = part or Shift()

    def build(self, x_shape):
        self.part.build_for(x_shape)

    def _forward(self, x):
        return self.part.run(x, Call())

    def _inverse(self, z):
        return self.part.run(z, Call(inverse=True))


class Untracked(Scale):
    """A weight that is a plain array: it is neither trained nor saved."""

    def build(self, x_shape):
        super().build(x_shape)
        self.__dict__["extra"] = keras.random.normal((x_shape[-1],))

    def _forward(self, x):
        return x * ops.exp(self.log_scale) + ops.cast(self.__dict__["extra"], x.dtype), super()._forward(x)[1]

    def _inverse(self, z):
        z = z - ops.cast(self.__dict__["extra"], z.dtype)
        return super()._inverse(z)


@breaks("saving", says="the same output of forward from the loaded layer")
def weight_not_tracked():
    return Untracked()


class BuiltInCall(Shift):
    """Makes its weight in the first call, so a loaded layer has none to load into."""

    def build(self, x_shape):
        self.later = None

    def _weight(self, x):
        if self.later is None:
            self.later = keras.Variable(keras.random.normal((x.shape[-1],)), name="later")
        return ops.cast(self.later, x.dtype)

    def _forward(self, x):
        return x + self._weight(x), 0.0

    def _inverse(self, z):
        return z - self._weight(z), 0.0


@breaks("saving", says="cannot add new elements of state")
def weight_made_in_call():
    return BuiltInCall()


class SavesNothing(Shift):
    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass


@breaks("saving", says="from the file, bit for bit")
def own_variables_left_out():
    return SavesNothing()


class LoadsLow(Shift):
    def save_own_variables(self, store):
        for i, variable in enumerate(self.weights):
            store[str(i)] = variable.numpy().astype("float16")


@breaks("saving", says="from the file, bit for bit")
def weights_saved_in_half_precision():
    return LoadsLow()
