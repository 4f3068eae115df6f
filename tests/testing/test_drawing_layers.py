"""Layers that draw, estimate, solve and refresh as they say raise no alarm; `make check` asks every clause."""

import pytest

from flowkit.testing import parametrize_bijectors
from tests.testing.drawing_layers import DRAWING


@pytest.mark.every_engine
@pytest.mark.wide.with_args(lambda params: params["check"].clause)
@parametrize_bijectors(DRAWING)
def test_no_alarm(bijector, check):
    check(bijector)
