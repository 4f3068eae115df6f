"""Resampling draws each place as often as its weight says, to within one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkit.flow.weighted import effective, resampled

pytestmark = pytest.mark.one_engine


@given(st.lists(st.sampled_from([0.0, 1e-9, 0.5, 1.0, 7.0]), min_size=1).filter(any), st.integers(0, 50))
def test_each_place_comes_as_often_as_its_weight_to_within_one(weights, n):
    weights = np.array(weights)
    counts = np.bincount(resampled(weights, n, np.random.default_rng(n)), minlength=len(weights))
    assert counts.sum() == n
    assert (np.abs(counts - n * weights / weights.sum()) < 1 + 1e-9).all()
    assert not counts[weights == 0].any()
    assert 1 - 1e-9 < effective(weights) < np.count_nonzero(weights) + 1e-9
