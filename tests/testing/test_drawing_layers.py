"""Layers that draw, estimate, solve and refresh as they say raise no alarm; `make check` asks every clause."""

import pytest

from flowkit.testing import parametrize_bijectors
from tests.testing.drawing_layers import DRAWING

# Layers of which `make test` checks another event, or the other direction; what is refreshed has a clause of its own.
SLOW = {
    "Slice(standard)",
    "Augment(images)",
    "Augment(standard)",
    "Dequantize(5 bits)",
    "DequantizeColumns(uniform)",
    "Inverse(Augment)",
    "Inverse(Dequantize(5 bits))",
    "Inverse(Sampler)",
    "Spectral",
}


@pytest.mark.every_engine
@pytest.mark.wide.with_args(lambda params: params["check"].clause)
@parametrize_bijectors([case for case in DRAWING if case.name not in SLOW])
def test_no_alarm(bijector, check):
    check(bijector)


@pytest.mark.long
@parametrize_bijectors([case for case in DRAWING if case.name in SLOW])
def test_no_alarm_at_others(bijector, check):
    check(bijector)
