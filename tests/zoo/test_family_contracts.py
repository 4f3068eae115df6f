"""Every family of vectors keeps every promise of the contract, with a context and without one."""

import functools

import pytest

from flowkit import zoo
from flowkit.testing import Case, parametrize_bijectors

SMALL = {"layers": 2, "hidden": [6]}
MORE = {
    "nsf": {"bins": 3},
    "nsf_autoregressive": {"bins": 3},
    "naf": {"units": 2},
    "bnaf": {"units": 2},
    "umnn": {"units": 2, "nodes": 5},
    "bernstein": {"degree": 4},
    "sos": {"terms": 2, "degree": 2},
    "gaussianization": {"components": 2},
    "residual": {"lipschitz": 0.3},
    "circular_nsf": {"bins": 3},
}
MIXED = {"domains": ["positive", "circular", ("circular", 0, 24)]}


def bijector(family, **options):
    return zoo.VECTORS[family](**{**SMALL, **MORE.get(family, {}), **options}).bijector


def case(name, family, **options):
    return Case(name, functools.partial(bijector, family, **options), ((3,),))


FAMILIES = [case(family, family) for family in zoo.VECTORS]
GIVEN_A_CONTEXT = [case(f"{family}(context)", family, context=2) for family in zoo.VECTORS]
WITH_ANGLES = [
    case(f"{family}(circular columns)", family, **MIXED) for family in ("nsf", "nsf_autoregressive")
]


@parametrize_bijectors([*FAMILIES, *GIVEN_A_CONTEXT, *WITH_ANGLES])
@pytest.mark.long
def test_contract_of_families(bijector, check):
    check(bijector)
