"""Every bijector of flowkit keeps every promise."""

import pytest

from flowkit.testing import parametrize_bijectors
from tests import cases


def _class(params):
    return params["bijector"].name.partition("(")[0]


def _axes(params):
    return len((params["bijector"].event_shapes or [()])[0])


def _clause(params):
    return params["check"].clause


@pytest.mark.every_engine
@pytest.mark.wide(_class, _axes, _clause)
@parametrize_bijectors(cases.ESSENTIAL)
def test_contract(bijector, check):
    check(bijector)


@pytest.mark.one_engine
@parametrize_bijectors(cases.FURTHER)
@pytest.mark.long
def test_contract_of_the_further_cases(bijector, check):
    check(bijector)
