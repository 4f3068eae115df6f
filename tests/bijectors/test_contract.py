"""Every bijector of flowkit keeps every promise."""

import pytest

from flowkit.testing import parametrize_bijectors
from tests import cases


@pytest.mark.every_engine
@parametrize_bijectors(cases.ESSENTIAL)
def test_contract(bijector, check):
    check(bijector)


@pytest.mark.one_engine
@parametrize_bijectors(cases.FURTHER)
@pytest.mark.long
def test_contract_of_the_further_cases(bijector, check):
    check(bijector)
