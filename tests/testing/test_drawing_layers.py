"""Layers that draw, estimate, solve and refresh as they say raise no alarm."""

import pytest

from flowkit.testing import parametrize_bijectors
from flowkit.testing.clauses import CLAUSES
from tests.testing.drawing_layers import DRAWING

# One that is read backwards, in a chain or on a scale asks its layer, whatever the layer.
PLAIN = [case for case in DRAWING if "(" not in case.name]
EAGER = [name for name in CLAUSES if name != "compiled"]  # which takes minutes of a compiler


@parametrize_bijectors(PLAIN, clauses=EAGER)
def test_no_alarm(bijector, check):
    check(bijector)


@pytest.mark.one_engine
@parametrize_bijectors([case for case in DRAWING if case not in PLAIN], clauses=EAGER)
def test_no_alarm_in_other_places(bijector, check):
    check(bijector)


@pytest.mark.long
@parametrize_bijectors(DRAWING, clauses=["compiled"])
def test_no_alarm_compiled(bijector, check):
    check(bijector)
