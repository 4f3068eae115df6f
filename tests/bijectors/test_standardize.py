"""Columns far from 0 and of different scales; columns that have no density."""

import numpy as np
import pytest
from arrays import f64

from flowkit.bijectors import Standardize
from flowkit.contract import ContractError

pytestmark = pytest.mark.one_engine

ROWS = 400


def table(rng, means, deviations):
    return rng.normal(means, deviations, (ROWS, len(means)))


def test_columns_far_from_zero_and_of_other_scales():
    means, deviations = [1e6, -3e-5, 0.0, 2.0], [1.0, 1e-6, 1e20, 1e-4]
    x = table(np.random.default_rng(0), means, deviations).astype("float32")
    layer = Standardize().adapt(x)
    z, log_det = layer(x)
    exact = x.astype("float64")
    # What float32 could hold of the data comes through: no digit is lost on the way.
    expected = (exact - exact.mean(0)) / exact.std(0)
    steps = np.spacing(np.abs(x).max(0)) / exact.std(0)
    np.testing.assert_array_less(np.abs(f64(z) - expected).max(0), 1e-5 + steps)
    np.testing.assert_allclose(f64(log_det), -np.log(exact.std(0)).sum(), rtol=1e-6)
    back = f64(layer.inverse(z)[0])
    assert (np.abs(back - exact) <= 4 * np.spacing(np.abs(x).max(0))).all()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            np.full(ROWS, 0.1),
            r"expected columns .* that vary, received column 2: all 400 entries are 0\.1 in float32\. Leave it",
        ),
        (
            np.random.default_rng(1).normal(1e7, 1.0, ROWS),
            r"column 2: 1e\+07 \+- .*in steps of 1\. Subtract",
        ),
        (np.where(np.arange(ROWS) == 7, np.nan, np.arange(ROWS)), r"column 2: nan in row 7\. Drop"),
    ],
)
def test_a_column_without_a_density_is_named(column, message):
    x = table(np.random.default_rng(0), [0.0, 1.0, 0.0], [1.0, 2.0, 1.0])
    x[:, 2] = column
    layer = Standardize()
    with pytest.raises(ContractError, match=message):
        layer.adapt(x.astype("float32"))
    assert not layer.adapted
