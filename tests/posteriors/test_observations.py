"""Data sets of varying size, with gaps: order and padding do not count, and bad shapes are refused."""

import numpy as np
import pytest
from scipy import stats

import flowkit
from flowkit.posteriors.observations import Observations

SMALL = {"simulations": 200, "epochs": 1, "layers": 2, "hidden": (8,), "verbose": 0}


def gappy(theta):
    """Sets of 6 rows of 2, in which the second entry may be missing."""
    rng = np.random.default_rng(0)
    x = theta[:, None, :1] + rng.normal(size=(len(theta), 6, 2))
    x[..., 1][rng.random(x.shape[:2]) < 0.2] = np.nan
    return x


@pytest.fixture(scope="module")
def sets():
    return flowkit.posterior(
        gappy, [stats.norm()], sizes=(2, 6), **SMALL | {"epochs": 4, "learning_rate": 1e-2, "batch_size": 20}
    )


def test_neither_order_nor_padding_counts(sets):
    x = gappy(np.ones((1, 1)))[0][:4]
    x[1, 1] = np.nan
    theta = np.linspace(-1, 1, 9)[:, None]
    expected = sets.log_prob(theta, x)
    rng = np.random.default_rng(0)
    padded = np.concatenate([x, np.full((2, 2), np.nan)])
    for same in (x[rng.permutation(4)], padded[rng.permutation(6)]):
        np.testing.assert_allclose(sets.log_prob(theta, same), expected, rtol=1e-4, atol=1e-4)
    other = np.where(np.isnan(x), 0.0, x)
    assert np.abs(sets.log_prob(theta, other) - expected).max() > 1e-4  # a gap is not a number
    several = sets.sample(50, [x, padded[:2], padded], seed=0)
    assert several.shape == (50, 3, 1)
    np.testing.assert_allclose(several[:, 0].mean(), several[:, 2].mean(), atol=1.0)


def test_random_parts_have_all_sizes():
    x = np.random.default_rng(0).normal(size=(600, 6, 2)).astype("float32")
    data = Observations.of(x, (2, 6), "drop")
    cut = data.cut(x, 0)
    there = ~np.isnan(cut).any(axis=2)
    np.testing.assert_array_equal(cut[there], x[there])
    found = np.bincount(there.sum(axis=1), minlength=7) / 600
    expected = np.diff(np.log(np.arange(2, 8))) / np.log(7 / 2)  # a uniform logarithm
    np.testing.assert_allclose(found[2:], expected, atol=0.07)
    assert there.mean(axis=0).std() < 0.05  # any rows


def test_vectors_with_gaps_are_taken():
    """A sensor that fails in a fifth of all runs, and another that never does."""
    rng = np.random.default_rng(0)

    def sensors(theta):
        x = theta + 0.1 * rng.normal(size=(len(theta), 2))
        x[rng.random(len(x)) < 0.2, 0] = np.nan
        return x

    found = flowkit.posterior(
        sensors, [(0, 1)], missing="model", **SMALL | {"epochs": 15, "learning_rate": 1e-2}
    )
    assert len(found.theta) == 200
    assert abs(found.sample(500, [np.nan, 0.8], seed=0).mean() - 0.8) < 0.15
    with pytest.raises(ValueError, match=r"in entry 1 of row 0, .* have the simulator return NaN there"):
        found.sample(5, [0.5, np.nan])
    assert found.check(pairs=10, draws=9).rows == 10


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 2)), r"shape \(1, 2\), expected \(n, 2\) with n from 2 to 6"),
        (np.zeros((7, 2)), r"shape \(7, 2\), expected \(n, 2\) with n from 2 to 6"),
        ([np.zeros((3, 2)), np.zeros(3)], r"expected \(n, 2\)"),
        ([[np.nan, 1.0], [0.0, 0.0]], "in entry 0, 0 of row 0, .*no simulation has a gap there"),
        (np.full((3, 2), np.nan), "got 0 entries that are there, expected at least 2"),
        ([[np.inf, 1.0], [0.0, 0.0]], "got inf in entry 0, 0 of row 0"),
    ],
)
def test_sets_that_do_not_fit_are_refused(sets, x, message):
    with pytest.raises(ValueError, match=message):
        sets.sample(3, x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": (0, 6)}, r"sizes: got \(0, 6\), expected whole numbers"),
        ({"sizes": (1, 5)}, r"got data of shape \(200, 6, 2\) with sizes=\(1, 5\), expected \(n, 5\)"),
        ({"sizes": (1, 6), "method": "nle"}, "got method='nle' with sizes="),
        ({"missing": "model", "method": "nle"}, "got method='nle' with sizes= or missing='model'"),
    ],
)
def test_sizes_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        flowkit.posterior(gappy, [stats.norm()], **SMALL, **arguments)
