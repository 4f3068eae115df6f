"""P-values of observations are uniform under the simulator, and small for data of another."""

import numpy as np
import pytest
from scipy import stats

import flowkit
from flowkit.posteriors.misspecification import p_values

pytestmark = pytest.mark.one_engine

RNG = np.random.default_rng(0)
SMALL = {"epochs": 1, "layers": 2, "hidden": (8,), "validation": 0.5, "verbose": 0}


def noisy(theta, deviation=1.0):
    """Ten measurements of each theta."""
    return theta + deviation * RNG.normal(size=(len(theta), 10))


def gappy(theta, deviation=1.0):
    """The same with a fifth of them missing, the more the smaller they are."""
    x = noisy(theta, deviation)
    x[RNG.random(x.shape) < 0.4 / (1 + np.exp(x))] = np.nan
    return x


KINDS = {
    "vectors": (noisy, {}),
    "likelihood": (noisy, {"method": "nle"}),
    "gaps": (gappy, {"missing": "model"}),
    "sets": (noisy, {"sizes": (1, 10), "epochs": 5, "learning_rate": 5e-3, "batch_size": 50}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_p_values_are_uniform_under_the_simulator_and_small_without_it(kind):
    simulator, options = KINDS[kind]
    found = flowkit.posterior(simulator, [stats.norm()], simulations=4000, **SMALL | options)
    theta = RNG.normal(size=(400, 1))

    def p(x, n):
        return found.misspecified(x[:, :n, None] if kind == "sets" else x)

    for n in (3, 10) if kind == "sets" else (10,):
        # The same 2,000 pairs are held out for all: the variance of their share is 1.2 times that of 400 p-values.
        assert stats.kstest(p(simulator(theta), n), "uniform").statistic < 1.1 * 1.36 / 20
        outlier = simulator(theta)
        outlier[:, 0] = 8.0
        assert (p(outlier, n) < 0.05).mean() > 0.7
    assert (p(simulator(theta, 2.0), 10) < 0.05).mean() > 0.7


def test_entries_that_never_vary_and_few_simulations():
    reference, held = (np.column_stack([RNG.normal(size=50), np.full(50, 3.0)]) for _ in range(2))
    assert p_values(np.array([[0.0, 3.1]]), reference, held) == 1 / 51
    assert p_values(np.array([[0.0, 3.0]]), reference, held) > 0.5
    with pytest.raises(ValueError, match="got 50 simulations of training and 9 held out"):
        p_values(reference, reference, held[:9])


def test_one_observation_has_a_number_and_held_pairs_must_be_known():
    theta = RNG.normal(size=(40, 1))
    found = flowkit.posterior(pairs=(theta, noisy(theta)), **SMALL)
    assert isinstance(found.misspecified(noisy(theta)[0]), float)
    assert found.misspecified(noisy(theta)[:3]).shape == (3,)
    found.held = None
    with pytest.raises(ValueError, match="without held-out pairs"):
        found.misspecified(noisy(theta)[0])
