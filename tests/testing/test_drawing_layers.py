"""Layers that draw, estimate, solve and refresh as they say raise no alarm."""

from flowkit.testing import parametrize_bijectors
from tests.testing.drawing_layers import DRAWING
from tests.testing.families import FAMILIES


@parametrize_bijectors(DRAWING)
def test_no_alarm(bijector, check):
    check(bijector)


@parametrize_bijectors(FAMILIES)
def test_families(bijector, check):
    check(bijector)
