"""Posteriors of whole numbers and categories beside enumeration."""

import numpy as np
import pytest
from scipy import stats

import flowkit
from flowkit.posteriors.prior import as_prior

pytestmark = pytest.mark.one_engine

GRID = np.linspace(0.005, 0.995, 199)
PRIOR = {"trials": stats.randint(1, 9), "coin": {"fair": 3, "biased": 1}, "bias": (0, 1)}


def tosses(theta):
    """The heads among `trials` tosses, four times: of a fair coin, or of one with the probability `bias`."""
    trials, coin, bias = theta.T
    share = np.where(coin == 0, 0.5, bias)
    return np.random.default_rng(len(theta)).binomial(trials.astype(int), share, (4, len(theta))).T


def exact(x):
    """The posterior of (trials, coin), (8, 2), by enumeration: log p(x, trials, coin) over their sum."""
    trials = np.arange(1, 9)
    fair = stats.binom.pmf(x[:, None], trials, 0.5).prod(axis=0)
    biased = stats.binom.pmf(x[:, None, None], trials[:, None], GRID).prod(axis=0).mean(axis=-1)
    joint = np.stack([0.75 * fair, 0.25 * biased], axis=1)
    return joint / joint.sum()


@pytest.fixture(scope="module")
def found():
    options = {"learning_rate": 3e-3, "layers": 3, "hidden": (32, 32), "batch_size": 100, "verbose": 0}
    return flowkit.posterior(tosses, PRIOR, simulations=5000, epochs=20, **options)


@pytest.mark.long
def test_shares_are_those_of_enumeration(found):
    """In the mean of data that the simulator makes; docs/posteriors.md has numbers of longer training."""
    observed = tosses(found.prior.draw(40, np.random.default_rng(1)))
    drawn = found.sample(4000, observed, seed=0)
    trials, coin = np.moveaxis(drawn[..., :2].astype(int), -1, 0)
    np.testing.assert_array_equal(drawn[..., :2], np.stack([trials, coin], axis=-1))
    assert trials.min() >= 1
    assert trials.max() <= 8
    assert {*coin.ravel().tolist()} <= {0, 1}
    shares = np.zeros((40, 8, 2))
    np.add.at(shares, (np.arange(40), trials - 1, coin), 1 / 4000)
    expected = np.array([exact(x) for x in observed])
    assert np.mean(np.abs(shares - expected).sum(axis=(1, 2)) / 2) < 0.2


@pytest.mark.long
def test_refined_draws_are_of_the_exact_posterior(found):
    """Whose evidence is the sum over numbers and categories."""
    x = np.array([2, 1, 2, 1])

    def likelihood(theta, x):
        trials, coin, bias = theta.T
        share = np.where(coin == 0, 0.5, bias)
        return stats.binom.logpmf(x[:, None], trials, share).sum(axis=0)

    refined = found.refine(x, likelihood, seed=0)
    trials = np.arange(1, 9)
    fair = stats.binom.pmf(x[:, None], trials, 0.5).prod(axis=0).mean()
    biased = stats.binom.pmf(x[:, None, None], trials[:, None], GRID).prod(axis=0).mean()
    assert refined.log_normaliser == pytest.approx(np.log(0.75 * fair + 0.25 * biased), abs=0.15)


@pytest.fixture(scope="module")
def untrained():
    """Whose draws and densities must fit together all the same."""
    options = {"layers": 2, "hidden": (8,), "start": "standardized", "verbose": 0}
    return flowkit.posterior(tosses, PRIOR, simulations=300, epochs=1, **options)


def test_shares_of_draws_are_the_integrals_of_the_density(untrained):
    """Which is a bound: it misses a few per cent, most near the ends of cells, and never exceeds 1."""
    x = np.array([2, 1, 2, 1])
    logit = np.linspace(-14, 14, 200)  # the untrained flow has much of its mass near 0 and 1
    bias = 1 / (1 + np.exp(-logit))
    width = bias * (1 - bias) * (logit[1] - logit[0])
    cells = np.stack(np.meshgrid(np.arange(1, 9), [0, 1], bias, indexing="ij"), axis=-1).reshape(-1, 3)
    density = (np.exp(untrained.log_prob(cells, x)).reshape(8, 2, -1) * width).sum(axis=-1)
    assert 0.85 < density.sum() < 1.02
    trials, coin = untrained.sample(4000, x, seed=0)[:, :2].astype(int).T
    shares = np.zeros((8, 2))
    np.add.at(shares, (trials - 1, coin), 1 / 4000)
    assert np.abs(shares - density).sum() / 2 < 0.06


def test_other_numbers_and_categories_are_impossible(untrained):
    outside = [[0, 0, 0.5], [9, 0, 0.5], [2, 2, 0.5], [2.5, 0, 0.5], [2, 0.5, 0.5], [2, 0, 1.5]]
    np.testing.assert_array_equal(untrained.log_prob(np.array(outside), np.array([2, 1, 2, 1])), -np.inf)


def test_named_draws_hold_words_and_integers(untrained):
    x = np.array([[2, 1, 2, 1], [5, 7, 6, 7]])
    plain, named = untrained.sample(50, x, seed=0), untrained.sample(50, x, seed=0, names=True)
    assert named.shape == (50, 2)
    assert named["trials"].dtype.kind == "i"
    np.testing.assert_array_equal(named["trials"], plain[..., 0])
    np.testing.assert_array_equal(named["coin"], np.array(["fair", "biased"])[plain[..., 1].astype(int)])
    np.testing.assert_array_equal(
        untrained.log_prob(named[:, 0], x[0]), untrained.log_prob(plain[:, 0], x[0])
    )
    named["coin"][0, 0] = "double"
    assert untrained.log_prob(named[:1, 0], x[0])[0] == -np.inf


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["one"], "expected two or more different words"),
        (["one", "one"], "expected two or more different words"),
        (["one", 2], "expected two or more different words"),
        ({"one": 1, "two": 0}, "a share above 0 of each"),
        ({"one": 1, "two": "many"}, "a share above 0 of each"),
        (stats.randint(0, 2**21), "whole numbers, within 1,048,576 of 0"),
        (stats.randint(3, 4), "expected two or more whole numbers"),
        (stats.poisson(2.0, loc=0.5), "expected two or more whole numbers"),
    ],
)
def test_priors_without_a_set_of_numbers_are_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        as_prior([entry, (0, 1)])


def test_a_likelihood_is_refused():
    with pytest.raises(ValueError, match=r"whole numbers or categories as parameters \[0, 1\].*method='npe'"):
        flowkit.posterior(tosses, PRIOR, method="nle", simulations=100, verbose=0)
