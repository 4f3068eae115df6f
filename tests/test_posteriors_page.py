"""docs/posteriors.md runs as it stands, and what it says of its flows holds."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

# Each training would be compiled anew for other engines, and its layers are asked there by tests of their own.
pytestmark = [pytest.mark.one_engine, pytest.mark.long]

PAGE = Path(__file__).parents[1] / "docs" / "posteriors.md"


@pytest.fixture(scope="module")
def names():
    """What the page's blocks leave behind, by name."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 10
    module = sys.modules["posteriors_page"] = types.ModuleType("posteriors_page")
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), vars(module))
    yield vars(module)
    del sys.modules["posteriors_page"]


def test_the_known_posterior_is_found(names):
    """1,000 pairs: what is lost against the exact density is small, beside the 1.8 nats that the prior would lose."""
    assert -0.05 < names["lost"].mean() < 0.5
    exact = np.sqrt(np.diag(names["covariance"]))
    off = (names["draws"].mean(axis=0) - names["exact_mean"](names["observed"])) / exact
    assert np.abs(off).max() < 1.5
    assert np.all(np.abs(np.log(names["draws"].std(axis=0) / exact)) < 0.6)


def test_the_series_of_counts_is_read(names):
    assert names["learned"] > 1.0
    assert names["found"].shape == names["ricker_true"].shape
    assert names["share"].shape == (101, 3)
    assert names["chance"].shape == (3,)


def test_diagnostics_rounds_and_likelihoods_run(names):
    assert {"calibration", "coverage", "tarp", "recovery"} <= names["report"].findings.keys()
    assert names["later"].mean() < 0.4  # 1/2, if the second round did not look at the observation
    assert 0.3 < (names["signs"] > 0).mean() < 0.7
    assert abs(np.abs(names["signs"]).mean() - 1) < 0.1


def test_the_spread_of_y_follows_x_and_its_density_integrates_to_one(names):
    np.testing.assert_allclose(names["spread"], 0.5 * np.exp([-0.8, 0.0, 0.8]), rtol=0.25)
    assert abs(names["area"] - 1) < 2e-3


def test_labels_and_inputs_by_name_are_heard(names):
    """Means 0, 5 and 10, give or take what 600 rows and 380 steps leave open: up to 0.6 for six seeds."""
    by_label = names["by_label"].sample(500, np.arange(3), seed=0).mean(axis=0)[:, 0]
    given = {"number": np.zeros((3, 1)), "kind": np.arange(3)}
    by_both = names["by_both"].sample(500, given, seed=0).mean(axis=0)[:, 0]
    for means in (by_label, by_both):
        np.testing.assert_allclose(means, [0, 5, 10], atol=1.0)


def test_draws_keep_within_the_bounds_of_the_prior(names):
    assert 0 < names["few"].min() <= names["few"].max() < 1
    assert 0.03 < names["few"].mean() < 0.25  # 1/12, if exact; 1/2, if the context were not heard
