"""Chain: its order, the spec it derives, the parts it refuses."""

import keras
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
    Reshape,
    Scale,
    Shift,
    Sigmoid,
    Squeeze,
    Tanh,
)
from flowkit.conditioners import MLP, ConvNet
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


def test_the_way_back_is_the_last_part_first():
    chain = Chain([Shift(1.0), Scale(0.5), Exp()])
    x = np.array([[0.3, -0.7]], "float32")
    z, log_det = chain(x)
    back, log_det_back = chain.inverse(z)
    np.testing.assert_allclose(f64(back), x, atol=16 * EPSILON)
    np.testing.assert_allclose(f64(log_det), 2 * 0.5 + ((x + 1) * np.exp(0.5)).sum(), rtol=16 * EPSILON)
    np.testing.assert_allclose(f64(log_det_back), -f64(log_det), rtol=16 * EPSILON)


def test_what_rearranges_lets_other_domains_through():
    chain = Chain([Flatten(), Permute(), Sigmoid(), Permute("shuffle"), Reshape((2, 2)), Logit()])
    assert (chain.spec.domain, chain.spec.codomain) == (Domain.REAL, Domain.REAL)
    assert Chain([Squeeze(), Exp(), Squeeze()]).spec.codomain == Domain.POSITIVE
    assert Chain([Permute(), Inverse(Exp())]).spec.domain == Domain.POSITIVE
    assert Chain([Permute(), Flatten()]).spec.rearranges
    assert not Chain([Permute(), Shift()]).spec.rearranges
    with pytest.raises(ContractError, match="domain"):
        Chain([Sigmoid(), Permute(), Sigmoid()])


def test_one_part_twice_is_refused():
    part = Shift()
    with pytest.raises(ValueError, match="got a part twice"):
        Chain([part, Permute(), part])


def test_a_chain_of_nothing_is_the_identity():
    chain = Chain([])
    x = np.ones((3, 2), "float32")
    for call in (chain, chain.inverse):
        y, log_det = call(x)
        np.testing.assert_array_equal(f64(y), x)
        np.testing.assert_array_equal(f64(log_det), np.zeros(3))


def test_what_is_not_a_bijector_is_refused():
    with pytest.raises(
        TypeError, match=r"Chain's parts: got the entry <Dense .*, expected a list of bijectors"
    ):
        Chain([Shift(1.0), keras.layers.Dense(3)])


@pytest.mark.one_engine
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([Shift(1.0), Permute()], {"log_det": "zero"}),
        ([Shift(1.0), Conv1x1()], {"log_det": "constant"}),
        ([Conv1x1(), Exp(), Scale(0.5)], None),
        ([Shift(1.0), Exp()], {"log_det": "varying", "codomain": Domain.POSITIVE}),
        ([Logit(), Shift(1.0)], {"log_det": "varying", "domain": Domain.UNIT_INTERVAL}),
        ([Logit(), Tanh()], {"domain": Domain.UNIT_INTERVAL, "codomain": Domain.interval(-1, 1)}),
        ([Squeeze(), ActNorm()], {"event_rank": 3, "event_multiple": (2, 2, 1), "log_det": "constant"}),
        ([ActNorm(), Coupling(MLP([4]))], {"log_det": "varying", "context": "none"}),
        (
            [Coupling(MLP([4], context="optional")), Coupling(MLP([4], context="required"))],
            {"context": "required"},
        ),
        ([Coupling(MLP([4], context="optional")), Shift(1.0)], {"context": "optional"}),
    ],
)
def test_the_spec_follows_from_the_parts(parts, expected):
    if expected is None:  # Scale takes the whole line, Exp gives only half of it
        with pytest.raises(
            ContractError, match=r"Scale .* to receive its domain Domain\.REAL, received Domain\.POSITIVE"
        ):
            Chain(parts)
        return
    spec = Chain(parts).spec
    assert spec == BijectorSpec(**{"log_det": "varying", **expected})


@pytest.mark.one_engine
@pytest.mark.parametrize("parts", [[Sigmoid(), Sigmoid()], [Exp(), Logit()], [Shift(1.0), Inverse(Exp())]])
def test_parts_whose_domains_do_not_fit_are_refused_when_it_is_made(parts):
    with pytest.raises(
        ContractError, match=f"{type(parts[1]).__name__} .*to receive its domain Domain"
    ) as caught:
        Chain(parts, name="mine")
    assert "Chain 'mine' broke 'domain'" in str(caught.value)
    assert str(parts[0].spec.codomain) in str(caught.value)


@pytest.mark.one_engine
@pytest.mark.parametrize(
    "parts", [[Flatten(), Squeeze()], [Squeeze(), Reshape((16,)), Squeeze()], [Reshape((4, 4)), Squeeze()]]
)
def test_parts_whose_ranks_do_not_fit_are_refused_when_it_is_made(parts):
    with pytest.raises(ContractError, match=r"Squeeze .*to receive events of rank 3") as caught:
        Chain(parts)
    assert caught.value.clause == "event rank"


def test_parts_that_change_the_rank_fit_where_they_should():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype("float32")
    chain = Chain([Squeeze(), Flatten(), Shift(1.0), Reshape((2, 4, 2)), Squeeze()])
    z, _ = chain(x)
    assert tuple(z.shape) == (2, 1, 2, 8)
    np.testing.assert_allclose(f64(chain.inverse(z)[0]), x, atol=4 * EPSILON * 4)


def test_a_part_that_cannot_take_the_shape_is_named_when_it_is_built():
    chain = Chain([Squeeze(), Squeeze(name="second")])
    with pytest.raises(ContractError, match=r"Squeeze 'second'.*axis 1 to be a multiple of 2, received 3"):
        chain(np.zeros((1, 6, 8, 1), "float32"))


def test_it_hands_on_context_and_class_counts():
    net = ConvNet(4, context="required", num_classes=3)
    chain = Chain([Squeeze(), Chain([Coupling(net)])])
    assert chain.num_classes == 3
    assert chain.spec.context == "required"
    with pytest.raises(ContractError, match="broke 'context'"):
        chain(np.zeros((2, 4, 4, 1), "float32"))


def test_nested_chains_are_the_same_map(perturb):
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    parts = [Conv1x1(seed=0), Coupling(MLP([8])), Permute(), Coupling(MLP([8]))]
    flat = Chain(parts)
    perturb(flat) if flat.built else flat(x)
    nested = Chain([Chain(parts[:2]), Chain([Chain(parts[2:])])])
    for one, other in zip(flat(x), nested(x), strict=True):
        np.testing.assert_array_equal(f64(one), f64(other))


def test_every_part_checks_the_shapes_of_later_calls_too():
    """A squeeze of 4 images of 5 rows has as many entries as 5 images of 4 rows."""
    chain = Chain([ActNorm(), Squeeze()]).adapt(np.zeros((4, 4, 4, 1), "float32"))
    with pytest.raises(ContractError, match=r"axis 1 to be a multiple of 2, received 5"):
        chain(np.zeros((4, 5, 4, 1), "float32"))
    assert tuple(chain(np.zeros((4, 6, 4, 1), "float32"))[0].shape) == (4, 3, 2, 4)
