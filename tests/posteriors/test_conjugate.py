"""Posteriors of data sets of 1 to 100 observations beside the exact ones of conjugate models."""

import numpy as np
import pytest
from scipy import stats

import flowkit

pytestmark = [pytest.mark.long, pytest.mark.one_engine]

RNG = np.random.default_rng(0)


def normal(x):
    """theta ~ N(0, 1), x ~ N(theta, 1)."""
    return x.sum() / (1 + len(x)), (1 + len(x)) ** -0.5


def poisson(x):
    """theta ~ Gamma(2, scale 2), x ~ Poisson(theta)."""
    shape, rate = 2 + x.sum(), 0.5 + len(x)
    return shape / rate, shape**0.5 / rate


MODELS = {
    "normal": (stats.norm(), lambda theta, n: theta + RNG.normal(size=(len(theta), n)), normal),
    "poisson": (
        stats.gamma(2.0, scale=2.0),
        lambda theta, n: RNG.poisson(theta, size=(len(theta), n)),
        poisson,
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_means_and_deviations_follow_the_number_of_observations(model):
    """After half a minute of training; docs/posteriors.md has the numbers."""
    prior, draw, exact = MODELS[model]
    reader = flowkit.conditioners.DeepSet(16, hidden=[32, 32], size=True)
    options = {"layers": 2, "hidden": (32, 32), "learning_rate": 5e-3, "epochs": 30, "verbose": 0}
    found = flowkit.posterior(
        lambda theta: draw(theta, 100),
        [prior],
        sizes=(1, 100),
        embedding=reader,
        simulations=10_000,
        **options,
    )
    for n in (1, 3, 10, 30, 100):
        theta = found.prior.draw(50, RNG)
        x = draw(theta, n)
        drawn = found.sample(1000, x[..., None], seed=1)[..., 0]
        mean, deviation = np.array([exact(row) for row in x]).T
        assert np.sqrt(np.mean((drawn.mean(axis=0) - mean) ** 2) / np.mean(mean**2)) < 0.12, n
        assert abs(np.median(drawn.std(axis=0) / deviation) - 1) < 0.15, n
