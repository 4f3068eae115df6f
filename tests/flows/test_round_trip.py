"""What does not come back from its latents is told: how many rows, how far, and what to do about it."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from flowkit import Flow, latent, zoo
from flowkit.bijectors import ActNorm, Chain, Coupling, Inverse, Permute, Scale, Shift
from flowkit.conditioners import MLP
from flowkit.contract import Bijector, BijectorSpec, ContractError
from flowkit.data.dequantize import Dequantize
from flowkit.transforms import Affine

pytestmark = pytest.mark.one_engine


class Coarse(Bijector):
    """x to the nearest quarter wherever it is above `above`: all finite, and 1/8 off at most."""

    def __init__(self, above=10.0, **kwargs):
        super().__init__(**kwargs)
        self.above = above

    def _forward(self, x):
        return ops.where(x > self.above, ops.round(4 * x) / 4, x), 0.0

    def _inverse(self, z):
        return z, 0.0


class OneWay(Bijector):
    def _forward(self, x):
        return 0 * x, 0.0


class Solved(Coarse):
    spec = BijectorSpec(inverse="iterative")


def flow_of(*parts, event=(3,), **options):
    flow = Flow(Chain(list(parts)), **options)
    flow.build((None, *event))
    return flow


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(5000, 3)).astype("float32")


def silent(call):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return call()


def test_a_row_far_out_that_is_lost_is_warned_of(x):
    x[1234, 1] = 20.1
    flow = flow_of(Coarse())
    with pytest.warns(
        UserWarning, match=r"1 of 8 rows that were looked at, of 5000, do not come back"
    ) as caught:
        z = flow.encode(x)
    (told,) = [one for one in caught if one.category is UserWarning]
    message = str(told.message)
    assert "off by up to 0.005 of their size" in message
    assert "min_scale=0.1" in message
    assert told.filename == __file__
    np.testing.assert_array_equal(z, flow.encode(x, check=None))


@pytest.mark.every_engine
def test_raise_looks_at_every_row(x):
    x[1234] = [0.0, -0.3, 0.3]  # near the middle
    flow = flow_of(Coarse(above=0.29))
    x[x > 0.29] = 0.25
    x[1234, 2] = 0.3
    silent(lambda: flow.encode(x))
    with pytest.raises(
        ContractError, match=r"received 1 of 5000 rows off by up to 0.0\d+ of their size"
    ) as caught:
        flow.encode(x, check="raise")
    assert "min_scale" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("check", ["warn", "raise", None])
@pytest.mark.parametrize(
    "call",
    [
        lambda flow, check: flow.decode(np.full((4, 3), 20.1), check=check),
        lambda flow, check: flow.sample(2000, temperature=20.0, seed=0, check=check),
        lambda flow, check: flow.sample_and_log_prob(2000, temperature=20.0, seed=0, check=check),
        lambda flow, check: latent.interpolate(flow, np.full(3, 20.1), np.full(3, 30.1), 3, check=check),
        lambda flow, check: latent.manipulate(flow, np.full(3, 20.1), np.ones(3), [0, 1], check=check),
        lambda flow, check: latent.attribute_direction(flow, np.full((2, 3), 20.1), [0, 1], check=check),
    ],
)
def test_wherever_data_are_made_or_taken(call, check):
    flow = flow_of(Coarse())
    if check == "raise":
        with pytest.raises(ContractError, match="broke 'round trip'"):
            call(flow, check)
    elif check == "warn":
        with pytest.warns(UserWarning, match="do not come back"):
            call(flow, check)
    else:
        silent(lambda: call(flow, check))


def test_another_word_is_refused_before_anything_is_computed(x):
    flow = flow_of(Coarse())
    for call in (flow.encode, flow.decode):
        with pytest.raises(ValueError, match="check: got True, expected one of 'warn', 'raise', None"):
            call(x, check=True)
    for call in (flow.sample, flow.sample_and_log_prob):
        with pytest.raises(ValueError, match="check: got 'ignore', expected"):
            call(2, check="ignore")


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_rounding_is_no_loss_whatever_the_size_of_the_data(x, size):
    flow = flow_of(Shift(3 * size), Scale(-np.log(size)))
    z = silent(lambda: flow.encode(size * x, check="raise"))
    np.testing.assert_allclose(z, x + 3, atol=64 * np.finfo("float32").eps)
    np.testing.assert_allclose(
        silent(lambda: flow.decode(z, check="raise")), size * x, atol=64 * size * np.finfo("float32").eps
    )
    if size <= 1:  # zeros alone do not say how large data are
        silent(lambda: flow.encode(np.zeros((2, 3)), check="raise"))


def test_the_error_is_relative_to_the_size_of_the_data(x):
    x = np.abs(x) + 11
    for size in (1.0, 100.0):
        flow = flow_of(Scale(-np.log(size)), Coarse())
        error = flow.round_trip_error(size * x)
        expected = np.abs(np.round(4 * x) / 4 - x).max(1) / np.maximum(x.max(1), np.median(x.max(1)))
        np.testing.assert_allclose(error, expected, atol=1e-6)


def test_a_flow_without_an_inverse_or_with_one_that_is_solved_for_is_left_alone(x):
    flow = flow_of(OneWay())
    assert silent(lambda: flow.encode(x)).shape == x.shape
    silent(lambda: flow_of(Inverse(Solved(above=-10.0))).sample(4, temperature=20.0))
    with pytest.raises(NotImplementedError, match="no _inverse"):
        flow.encode(x, check="raise")
    solved = flow_of(Solved(above=-10.0))
    silent(lambda: solved.encode(x))
    with pytest.raises(ContractError, match="round trip"):  # who asks is answered
        solved.encode(x, check="raise")


@pytest.mark.one_engine
def test_images_labels_and_levels_come_back(images, labels, perturb):
    flow = perturb(zoo.glow(levels=2, steps=1, width=8, input_shape=(8, 8, 1), num_classes=3))
    z = silent(lambda: flow.encode(images, labels, check="raise"))
    np.testing.assert_array_equal(silent(lambda: flow.decode(z, labels, check="raise")), images)
    silent(lambda: flow.sample(4, labels[:5], seed=0, check="raise"))
    assert flow.round_trip_error(images, labels).max() < 1e-4


def test_images_that_do_not_come_back(images):
    flow = flow_of(Coarse(above=0.25), event=(8, 8, 1), dequantize=Dequantize())
    with pytest.warns(UserWarning, match=r"8 of 8 rows that were looked at, of 16, do"):
        flow.encode(images)


@pytest.mark.every_engine
@pytest.mark.parametrize(
    "call",
    [
        lambda flow: flow.decode(np.full((4, 3), 1e10)),
        lambda flow: flow.sample(4, temperature=1e12, seed=0),
        lambda flow: flow.sample_and_log_prob(4, temperature=1e12, seed=0),
    ],
)
def test_rows_that_overflowed_are_told_once(call):
    flow = flow_of(Scale(-80.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        call(flow)
    (warned,) = [one for one in caught if one.category is UserWarning]
    assert warned.filename == __file__
    told = [str(one.message) for one in caught if one.category is UserWarning]
    assert len(told) == 1
    assert "4 of 4 samples overflowed" in told[0]
    with (
        pytest.warns(UserWarning, match="overflowed"),
        pytest.raises(ContractError, match="4 of 4 rows off"),
    ):
        flow.decode(np.full((4, 3), 1e10), check="raise")


def test_no_rows_are_no_trouble():
    flow = flow_of(Coarse())
    for check in ("warn", "raise"):
        assert flow.encode(np.zeros((0, 3)), check=check).shape == (0, 3)
        assert flow.sample(0, check=check).shape == (0, 3)
    assert flow.round_trip_error(np.zeros((0, 3))).shape == (0,)


def test_a_scale_that_is_bounded_below_is_the_cure(perturb):
    """Couplings of Glow's kind lose rows far out, where their scale is next to nothing."""
    x = np.random.default_rng(0).standard_t(2, size=(2000, 4)).astype("float32")

    def lost(transform):
        keras.utils.set_random_seed(0)
        parts = [p for _ in range(8) for p in (Coupling(MLP([8]), transform), Permute("reverse"))]
        flow = Flow(Chain([ActNorm(), *parts])).adapt(x)
        return (perturb(flow, scale=0.5).round_trip_error(x) > 1e-3).sum()

    assert lost(Affine()) > 0
    assert lost(Affine(min_scale=0.1)) == 0


def test_a_warning_looks_at_few_calls_and_again_after_a_change_of_weights(x):
    x[:] = 20.1
    flow = flow_of(Coarse(), Shift(0.0))

    def looks():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            flow.encode(x)
        return bool(caught)

    assert [call for call in range(1, 18) if looks()] == [1, 16]
    flow.set_weights(flow.get_weights())
    assert looks()
