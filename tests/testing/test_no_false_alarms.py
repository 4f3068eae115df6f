"""Correct but awkward bijectors raise no alarm."""

from flowkit.testing import parametrize_bijectors
from tests.testing.awkward_bijectors import AWKWARD


@parametrize_bijectors(AWKWARD)
def test_no_alarm(bijector, check):
    check(bijector)


def test_there_are_many():
    assert len(AWKWARD) >= 25
