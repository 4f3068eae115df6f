"""Layers that draw, estimate, solve and refresh as they say raise no alarm."""

from flowkit.testing import parametrize_bijectors
from tests.testing.drawing_layers import DRAWING


@parametrize_bijectors(DRAWING)
def test_no_alarm(bijector, check):
    check(bijector)
