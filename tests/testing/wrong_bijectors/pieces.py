"""Maps of several pieces that do not meet."""

from keras import ops

from flowkit.bijectors import Elementwise
from tests.testing.wrong_bijectors.registry import breaks


class Pieces(Elementwise):
    """z = slope * x on [-3, 3] and z = x outside, with a slope for each column."""

    slopes = (1.0,)

    def _forward(self, x):
        return self._piece(x, ops.convert_to_tensor(self.slopes, dtype=x.dtype))

    def _inverse(self, z):
        return self._piece(z, 1 / ops.convert_to_tensor(self.slopes, dtype=z.dtype))

    def _piece(self, x, slope):
        inside = ops.abs(x) < 3
        return ops.where(inside, slope * x, x), ops.where(inside, ops.log(slope) + 0 * x, 0 * x)


@breaks("gaps")
class EndsBeforeItsBound(Pieces):
    """Nothing maps to what lies between 2.997 and 3."""

    slopes = (0.999,)


@breaks("gaps")
class EndsPastItsBound(Pieces):
    """What lies between 3 and 3.003 is reached from two sides."""

    slopes = (1.001,)


@breaks("gaps", (2,))
class OneColumnEndsBefore(Pieces):
    """The second column alone."""

    slopes = (1.0, 0.999)
