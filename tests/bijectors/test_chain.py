"""Chain: its order, the spec it derives, the parts it refuses. Inverse: the data for which its part is built."""

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import (
    ActNorm,
    Chain,
    Conv1x1,
    Coupling,
    Exp,
    Flatten,
    Inverse,
    Logit,
    Permute,
    Repeat,
    Reshape,
    Scale,
    Shift,
    Sigmoid,
    Squeeze,
    Tanh,
)
from flowkit.conditioners import MLP
from flowkit.contract import BijectorSpec, ContractError, Domain

pytestmark = pytest.mark.two_engines

EPSILON = np.finfo("float32").eps


def test_it_is_the_first_part_then_the_second():
    x = np.array([[1.0, 2.0]], "float32")
    z, log_det = Chain([Shift(1.0), Scale(0.5)])(x)
    np.testing.assert_allclose(f64(z), (x + 1) * np.exp(0.5), rtol=4 * EPSILON)
    np.testing.assert_allclose(f64(log_det), 1.0, rtol=4 * EPSILON)  # 2 entries x 0.5
    z, _ = Chain([Scale(0.5), Shift(1.0)])(x)
    np.testing.assert_allclose(f64(z), x * np.exp(0.5) + 1, rtol=4 * EPSILON)


def test_what_rearranges_lets_other_domains_through():
    chain = Chain([Flatten(), Permute(), Sigmoid(), Permute("shuffle"), Reshape((2, 2)), Logit()])
    assert (chain.spec.domain, chain.spec.codomain) == (Domain.REAL, Domain.REAL)
    assert Chain([Squeeze(), Exp(), Squeeze()]).spec.codomain == Domain.POSITIVE
    assert Chain([Permute(), Inverse(Exp())]).spec.domain == Domain.POSITIVE
    assert Chain([Permute(), Flatten()]).spec.rearranges
    assert not Chain([Permute(), Shift()]).spec.rearranges
    with pytest.raises(ContractError, match="domain"):
        Chain([Sigmoid(), Permute(), Sigmoid()])


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([Shift(1.0), Conv1x1()], {"log_det": "constant"}),
        ([Logit(), Tanh()], {"domain": Domain.UNIT_INTERVAL, "codomain": Domain.interval(-1, 1)}),
        ([Squeeze(), ActNorm()], {"event_rank": 3, "event_multiple": (2, 2, 1), "log_det": "constant"}),
        (
            [Coupling(MLP([4], context="optional")), Coupling(MLP([4], context="required"))],
            {"context": "required"},
        ),
        ([Coupling(MLP([4], context="optional")), Shift(1.0)], {"context": "optional"}),
    ],
)
def test_the_spec_follows_from_the_parts(parts, expected):
    assert Chain(parts).spec == BijectorSpec(**{"log_det": "varying", **expected})


def test_every_part_checks_the_shapes_of_later_calls_too():
    """A squeeze of 4 images of 5 rows has as many entries as 5 images of 4 rows."""
    chain = Chain([ActNorm(), Squeeze()]).adapt(np.zeros((4, 4, 4, 1), "float32"))
    with pytest.raises(ContractError, match=r"axis 1 to be a multiple of 2, received 5"):
        chain(np.zeros((4, 5, 4, 1), "float32"))
    assert tuple(chain(np.zeros((4, 6, 4, 1), "float32"))[0].shape) == (4, 3, 2, 4)


@pytest.mark.one_engine
def test_what_an_inverse_holds_is_built_for_its_own_data():
    inner = Chain([Shift(), Squeeze()])
    Inverse(inner)(np.ones((2, 2, 2, 8), "float32"))
    assert tuple(inner.parts[0].shift.shape) == (2,)


@pytest.mark.one_engine
def test_what_an_inverse_holds_adapts_to_standard_normal_numbers():
    x = np.random.default_rng(0).normal(5, 2, (4096, 3)).astype("float32")
    z, _ = Inverse(Chain([Scale(2.0), ActNorm()])).adapt(x)(x)
    np.testing.assert_allclose(f64(z), x, rtol=0.2, atol=0.5)  # what it is given is scaled, and scaled back


@pytest.mark.one_engine
def test_copies_of_an_inverse_adapt():
    layer = Repeat(Inverse(ActNorm()), 2)
    assert layer.adapt(np.ones((8, 3), "float32")).adapted
