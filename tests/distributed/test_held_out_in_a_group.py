"""Two processes go by one validation score, that of one process, and keep the same epoch's weights."""

import json

import numpy as np
import pytest

from flowkit.engines import engine
from flowkit.training import read_log

pytestmark = pytest.mark.skipif(
    engine.name not in ("torch", "jax"), reason="one process on this engine, which test_group.py asks"
)


@pytest.fixture
def runs(scenarios):
    """The folders of a run by one process and of one by two."""
    return [scenarios[count] / "trained" for count in (1, 2)]


def test_the_scores_are_those_of_one_process_and_end_both(runs):
    one, two = ([row["val_bits_per_dim"] for row in read_log(run / "log.csv")] for run in runs)
    assert len(one) == len(two) == 2
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_the_kept_epoch_is_the_same(runs):
    one, two = (json.loads((run / "metrics.json").read_text()) for run in runs)
    assert one["kept_epoch"] == two["kept_epoch"] == 0  # the weights of the start
    assert two["validation_bits_per_dim"] == pytest.approx(one["validation_bits_per_dim"], rel=1e-5)


def test_the_test_images_are_scored_by_both_as_by_one(runs):
    one, two = (json.loads((run / "metrics.json").read_text()) for run in runs)
    for key in ("test_bits_per_dim", "test_standard_error"):
        assert two[key] == pytest.approx(one[key], rel=1e-5)
