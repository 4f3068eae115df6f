"""Every bijector of flowkit keeps every promise."""

from flowkit.testing import parametrize_bijectors
from tests import cases


@parametrize_bijectors(cases.ALL)
def test_contract(bijector, check):
    check(bijector)
