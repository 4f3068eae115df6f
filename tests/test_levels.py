"""Levels of a flow's latents: found, and given a temperature each."""

import math

import numpy as np
import pytest

from flowkit import Flow
from flowkit.bijectors import Chain, MultiScale, Scale, Shift, Squeeze
from flowkit.bijectors.levels import find_levels, level_sizes


def built(bijector, shape=(None, 4, 4, 1)):
    flow = Flow(bijector)
    flow.build(shape)
    return flow


@pytest.fixture(scope="module")
def flow():
    return built(MultiScale([Chain([Squeeze(), Scale(math.log(2))]), Squeeze()]))


def test_levels_at_the_end_of_chains_are_found():
    shift, scale, levels = Shift(0.5), Scale(0.1), MultiScale([Squeeze()])
    before, found = find_levels(Chain([shift, Chain([scale, levels])]), "x")
    assert before == [shift, scale]
    assert found is levels
    with pytest.raises(ValueError, match=r"what: got Chain, expected .* MultiScale, "):
        find_levels(Chain([levels, shift]), "what")
    with pytest.raises(ValueError, match="got Chain"):
        find_levels(Chain([]), "what")


def test_each_level_has_a_temperature_of_its_own(flow):
    assert level_sizes(flow.bijector, "x") == [8, 8]
    z = flow.encode(flow.sample(5, temperature=[0, 1], seed=0))
    assert (z[:, :8] == 0).all()
    warm, cool = (flow.encode(flow.sample(5, temperature=t, seed=0)) for t in (1.0, [0.5, 0.25]))
    np.testing.assert_array_equal(cool, warm * np.repeat([0.5, 0.25], 8))  # halves are exact
    np.testing.assert_array_equal(
        flow.sample(5, temperature=(0.5, 0.5), seed=0), flow.sample(5, temperature=0.5, seed=0)
    )


def test_levels_behind_other_parts_have_one_too():
    flow = built(Chain([Shift(1.0), MultiScale([Squeeze(), Squeeze()])]))
    x, log_prob = flow.sample_and_log_prob(3, temperature=np.array([0.0, 0.0]))
    np.testing.assert_array_equal(x, -np.ones((3, 4, 4, 1)))
    np.testing.assert_allclose(log_prob, -8 * math.log(2 * math.pi), rtol=8 * np.finfo("float32").eps)


@pytest.mark.parametrize(
    ("temperature", "message"),
    [
        ([0.5, -0.5], r"got \[0\.5, -0\.5\], expected a number from 0 up, or one for each level"),
    ],
)
def test_temperatures_that_are_none(flow, temperature, message):
    with pytest.raises(ValueError, match=message):
        flow.sample(2, temperature=temperature)
