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


# Seconds each, and unlike a case of `make test` only by a context, an estimate whose mean test_residual.py takes,
# a transform that a coupling has too, or copies, which test_repeat.py compares. `make check` runs them.
SLOW = {
    "Residual(hutchinson)",
    "Residual(roulette)",
    "BlockAutoregressive(context)",
    "Autoregressive(mixture)",
    "Repeat(NormalScores)",
    "Repeat(LinearGaussian)",
    "MultiScale(place priors)",
    "Autoregressive(places, sequence)",
}


@pytest.mark.every_engine
@pytest.mark.wide(_class, _axes, _clause)
@parametrize_bijectors([case for case in cases.ESSENTIAL if case.name not in SLOW])
def test_contract(bijector, check):
    check(bijector)


@pytest.mark.one_engine
@parametrize_bijectors([*cases.FURTHER, *(case for case in cases.ESSENTIAL if case.name in SLOW)])
@pytest.mark.long
def test_contract_of_the_further_cases(bijector, check):
    check(bijector)
