"""Normal scores of columns in closed form: densities that are known, ties, tails, and columns that cannot be."""

import numpy as np
import pytest
from scipy import stats

from flowkit import Flow
from flowkit.bijectors import Chain, LinearGaussian, NormalScores

pytestmark = pytest.mark.two_engines

COLUMNS = {
    "normal": stats.norm(1e4, 3.0),
    "skewed": stats.gamma(2.0),
    "heavy tails": stats.t(3.0),
    "uniform": stats.uniform(5.0, 2.0),
}


def draw(rows, seed):
    rng = np.random.default_rng(seed)
    return np.stack([column.rvs(rows, random_state=rng) for column in COLUMNS.values()], axis=1)


@pytest.mark.parametrize(("rows", "most"), [(100, 0.15), (1000, 0.06), (10_000, 0.04)])
def test_it_is_near_to_the_density_of_each_column_and_above_the_normal(rows, most):
    x, held_out = draw(rows, 1), draw(4000, 2)
    for place, (name, column) in enumerate(COLUMNS.items()):
        flow = Flow(NormalScores()).adapt(x[:, [place]])
        found = flow.log_prob(held_out[:, [place]]).mean()
        exact = column.logpdf(held_out[:, place]).mean()
        normal = stats.norm(x[:, place].mean(), x[:, place].std()).logpdf(held_out[:, place]).mean()
        assert exact - found < most * (2 if name == "heavy tails" else 1), name
        assert found > normal - (0.05 if name == "normal" else 0), name


def test_two_bumps_are_seen_as_two():
    x = np.random.default_rng(0).normal([-3, 3], 0.3, (500, 2)).reshape(-1, 1)
    density = np.exp(Flow(NormalScores()).adapt(x).log_prob([[-3.0], [0.0], [3.0]]))
    assert density[1] < 0.02 * min(density[0], density[2])


def test_behind_it_a_linear_gaussian_makes_a_gaussian_copula():
    normal = stats.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]])
    z, new = normal.rvs(4000, random_state=0), normal.rvs(4000, random_state=1)
    flow = Flow(Chain([NormalScores(), LinearGaussian()])).adapt(np.exp(z))
    lost = normal.logpdf(new) - new.sum(axis=1) - flow.log_prob(np.exp(new))
    assert abs(lost.mean()) < 0.1  # of independent columns 0.5


@pytest.mark.parametrize(
    "column",
    [
        [0.0, 1.0],
        [0.0] * 99 + [1.0],
        np.repeat([1.0, 2.0, 5.0], 20),
        np.r_[np.random.default_rng(0).normal(size=200), 1e6],
        np.random.default_rng(0).normal(size=50) * 1e-20,
        np.random.default_rng(0).normal(size=50) + 1e5,
        np.random.default_rng(0).standard_cauchy(5000),
    ],
    ids=["two rows", "one other", "ties", "outlier", "tiny", "far", "cauchy"],
)
def test_any_column_that_varies_has_finite_densities_and_comes_back(column):
    x = np.asarray(column, "float32")[:, None]
    layer = NormalScores().adapt(x)  # a flow would refuse whole numbers
    flow = Flow(layer)
    wide = np.concatenate([x, 3 * x[-1:] - 2 * x[:1]])
    assert np.isfinite(flow.log_prob(wide)).all()
    np.testing.assert_allclose(flow.decode(flow.encode(wide)), wide, rtol=1e-3, atol=1e-3 * x.std())
