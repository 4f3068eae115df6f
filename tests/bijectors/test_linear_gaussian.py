"""A linear Gaussian model in closed form: scikit-learn's numbers, a known density, and few rows."""

import keras
import numpy as np
import pytest
from scipy import stats

from flowkit import Flow
from flowkit.bijectors import LinearGaussian

pytestmark = pytest.mark.two_engines


def model(seed, columns, entries):
    """Return a function that draws rows x and contexts c, and one that returns the log-density of x given c."""
    rng = np.random.default_rng(seed)
    slope, lower = rng.normal(size=(entries, columns)), np.tril(rng.normal(size=(columns, columns)))
    scales, centers = 10.0 ** rng.uniform(-3, 3, columns), rng.normal(size=columns)
    covariance = (lower @ lower.T + 0.1 * np.eye(columns)) * np.outer(scales, scales)

    def draw(rows):
        c = rng.normal(100, 10, size=(rows, entries))
        x = mean(c) + rng.multivariate_normal(np.zeros(columns), covariance, rows)
        return x.astype("float32"), c.astype("float32")

    def mean(c):
        return ((c - 100) @ slope / 10 + centers) * scales

    def log_density(x, c):
        return stats.multivariate_normal(np.zeros(columns), covariance).logpdf(x - mean(c))

    return draw, log_density


def adapted(x, c=None):
    return Flow(LinearGaussian(context="none" if c is None else "required")).adapt(x, c)


@pytest.mark.parametrize("rows", [6, 60])
def test_the_closed_form_is_that_of_ridge_regression_and_ledoit_and_wolf(rows):
    linear_model = pytest.importorskip("sklearn.linear_model")
    covariance = pytest.importorskip("sklearn.covariance")
    selection = pytest.importorskip("sklearn.model_selection")
    draw, _ = model(0, 4, 7)
    x, c = draw(rows)
    scaled = (c.astype(float) - c.mean(0, dtype=float)) / c.std(0, dtype=float)
    predicted, left_out = np.empty(x.shape), np.empty(x.shape)
    for column in range(x.shape[1]):
        y = x[:, column].astype(float)
        search = linear_model.RidgeCV(rows * 10.0 ** np.arange(-8, 3, 0.25)).fit(scaled, y)
        predicted[:, column] = search.predict(scaled)
        ridge = linear_model.Ridge(search.alpha_)
        left_out[:, column] = y - selection.cross_val_predict(ridge, scaled, y, cv=selection.LeaveOneOut())
    std = np.sqrt(np.square(left_out).mean(0))
    shrunk = covariance.LedoitWolf(assume_centered=True).fit(left_out / std).covariance_
    expected = stats.multivariate_normal(np.zeros(4), shrunk * np.outer(std, std)).logpdf(x - predicted)
    np.testing.assert_allclose(adapted(x, c).log_prob(x, c), expected, rtol=1e-4)


def test_without_a_context_it_is_the_gaussian_of_the_rows():
    covariance = pytest.importorskip("sklearn.covariance")
    x, _ = model(1, 5, 1)[0](50)
    mean, std = x.mean(0, dtype=float), x.std(0, dtype=float)
    z = (x - mean) / std
    shrunk = covariance.LedoitWolf().fit(z).covariance_
    expected = stats.multivariate_normal(np.zeros(5), shrunk).logpdf(z) - np.log(std).sum()
    np.testing.assert_allclose(adapted(x).log_prob(x), expected, rtol=1e-4)


def copied(x, c):
    return np.concatenate([x, 2 * x[:, :1]], axis=1), c


def explained(x, c):
    return np.concatenate([x, 3 * c[:, :1]], axis=1), c


def two_rows(x, c):
    return x[:2], c[:2]


@pytest.mark.parametrize("degenerate", [copied, explained, two_rows])
def test_what_others_explain_keeps_a_deviation(degenerate):
    x, c = degenerate(*model(4, 3, 2)[0](100))
    layer = adapted(x, c).bijector
    deviations = np.exp(keras.ops.convert_to_numpy(layer.log_diagonal)) / x.std(0)
    assert (deviations > 5e-7).all()
    z, _ = layer(x, c)
    back, _ = layer.inverse(z, c)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(back), x, atol=1e-3 * x.std(0).max())
