"""Bounds on weights that are missing or wrong, which shows only where weights are large."""

from keras import ops

from tests.testing.bounded_layers import FreePlanar, Residual
from tests.testing.wrong_bijectors.registry import breaks


@breaks("round trip", (2,))
class FourSteps(Residual):
    """Enough for a layer that is nearly the identity."""

    steps = 4


@breaks("round trip", (3,))
class DividedByTheNorm(FreePlanar):
    """w / |w| in place of w / |w|^2: no bijection where w is long."""

    def _norm(self):
        return ops.sqrt(super()._norm())
