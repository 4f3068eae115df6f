"""What is derived from weights, and is not what the weights say."""

from keras import ops

from flowkit.bijectors import Scale
from tests.testing.wrong_bijectors.registry import breaks


@breaks("derived", says="_derive to keep a leading axis of 2", engines=("torch", "tensorflow"))
@breaks("derived", says="a stop of the compiler", engines=("jax",))
class DerivedOnceForEver(Scale):
    """The first scale is remembered, whatever the weights have become."""

    def _derive(self, x_shape, inverse):
        memory = self.__dict__.setdefault("memory", {})
        if inverse not in memory:
            made = super()._derive(x_shape, inverse)
            memory[inverse] = {k: v if v is None else ops.convert_to_numpy(v) for k, v in made.items()}
        return memory[inverse]


@breaks("derived")
class DerivesAnotherScale(Scale):
    """Handed over, the scale is another than what the hook finds by itself."""

    def run(self, x, call, noise=None, derived=None):
        if derived is not None:
            derived = {**derived, "scale": derived["scale"] * 1.5}
        return super().run(x, call, noise, derived)
