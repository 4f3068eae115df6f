"""What is passed by mistake gets an error that says what was expected, and what came."""

import re

import pytest

from flowkit import Flow
from flowkit.bijectors import ActNorm, Chain, Coupling
from flowkit.conditioners import MADE, MLP
from flowkit.distributions import Normal, StudentT
from flowkit.testing import check_bijector, check_distribution

pytestmark = pytest.mark.one_engine


def flow():
    made = Flow(Coupling(MLP([4])))
    made.build((None, 2))
    return made


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Flow(ActNorm(), base="normal"), TypeError, "expects a base density"),
        (lambda: Flow(ActNorm(), base=Normal), TypeError, "expects a base density"),
        (lambda: Coupling("mlp"), TypeError, "expects a Conditioner or a Keras layer"),
        (lambda: MLP(64), ValueError, "a list of widths, such as [64, 64], received 64"),
        (lambda: MADE(3), ValueError, "a list of widths, such as [64, 64], received 3"),
        (lambda: MLP([8, 0.5]), ValueError, "a whole number from 1 up, received 0.5"),
        (lambda: Chain(ActNorm()), TypeError, "expects a list of bijectors"),
        (lambda: StudentT(df="3"), ValueError, "a finite number above 0, received '3'"),
        (lambda: check_bijector(flow()), TypeError, "Of a flow pass its bijector"),
        (lambda: check_bijector("flow"), TypeError, "expects a Bijector"),
        (lambda: check_distribution("normal"), TypeError, "expects a Distribution"),
        (lambda: flow().sample(2, seed="a"), ValueError, "a whole number or a SeedGenerator, received 'a'"),
        (lambda: flow().log_prob(None), ValueError, "an array of numbers, batch first, received None"),
        (lambda: flow().log_prob("rows"), ValueError, "an array of numbers, batch first, received 'rows'"),
        (lambda: flow().log_prob(3.0), ValueError, "an array of numbers, batch first, received 3.0"),
    ],
)
def test_says_what_was_expected(call, error, says):
    with pytest.raises(error, match=re.escape(says)):
        call()
