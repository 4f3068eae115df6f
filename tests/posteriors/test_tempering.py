"""Draws by tempering follow a density that is known."""

import numpy as np
import pytest

from flowkit.flow.tempering import tempered

pytestmark = pytest.mark.one_engine


def test_two_modes_keep_their_weights():
    """A third of the mass at -3 and two thirds at 3, each of deviation 0.2 in two columns, from a prior on (-6, 6)."""

    def log_prior(theta):
        return np.where((np.abs(theta) < 6).all(axis=1), -2 * np.log(12), -np.inf)

    def log_likelihood(theta):
        modes = [np.log(w) - 0.5 * np.square((theta - at) / 0.2).sum(axis=1) for w, at in ((1, -3), (2, 3))]
        return np.logaddexp(*modes)

    rng = np.random.default_rng(0)
    drawn = tempered(rng.uniform(-6, 6, (4000, 2)), log_prior, log_likelihood, rng).draws
    right = drawn[:, 0] > 0
    assert abs(right.mean() - 2 / 3) < 0.05
    np.testing.assert_allclose(drawn[right].mean(axis=0), 3, atol=0.03)
    np.testing.assert_allclose(drawn[right].std(axis=0), 0.2, rtol=0.1)


def test_a_bound_of_the_prior_is_kept():
    rng = np.random.default_rng(0)
    drawn = tempered(
        rng.uniform(0, 1, (2000, 1)),
        lambda theta: np.where((theta[:, 0] > 0) & (theta[:, 0] < 1), 0.0, -np.inf),
        lambda theta: -theta[:, 0] / 0.2,
        rng,
    ).draws
    assert drawn.min() > 0
    assert abs(drawn.mean() - (0.2 - np.exp(-5) / (1 - np.exp(-5)))) < 0.02  # a truncated exponential


def test_an_impossible_observation_is_refused():
    never = np.full(10, -np.inf)
    with pytest.raises(ValueError, match="got a density of 0 at all 10 draws"):
        tempered(np.zeros((10, 1)), lambda t: np.zeros(10), lambda t: never, np.random.default_rng(0))
