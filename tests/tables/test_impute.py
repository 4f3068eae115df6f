"""Imputation: sweeps reach a known conditional density, and leave it as it is where log_prob is a bound."""

import numpy as np
import pandas as pd
import pytest

import flowkit

pytestmark = pytest.mark.one_engine


@pytest.mark.parametrize("missing", [["c"], ["b", "c"]])
def test_five_sweeps_reach_a_known_conditional(normal, covariance, missing):
    rows = pd.DataFrame({"a": np.full(4000, 1.0), "b": 0.5, "c": 0.5})
    seen = [name for name in rows if name not in missing]
    rows[missing] = np.nan
    places, others = ([["a", "b", "c"].index(name) for name in names] for names in (missing, seen))
    gain = covariance[np.ix_(places, others)] @ np.linalg.inv(covariance[np.ix_(others, others)])
    mean = gain @ rows[seen].iloc[0].to_numpy()
    expected = covariance[np.ix_(places, places)] - gain @ covariance[np.ix_(others, places)]
    drawn = normal.impute(rows, sweeps=5, seed=1)[missing].to_numpy()
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.03)  # 3 standard errors
    assert np.atleast_2d(np.cov(drawn.T)) == pytest.approx(expected, abs=0.03)


def test_sweeps_leave_the_conditional_as_it_is_where_log_prob_is_a_bound():
    rng = np.random.default_rng(0)
    kind = rng.choice(list("abc"), 300, p=[0.6, 0.3, 0.1])
    frame = pd.DataFrame({"kind": kind, "n": rng.binomial(5, np.where(kind == "a", 0.2, 0.6))})
    flow = flowkit.fit_table(frame, layers=2, hidden=[16], epochs=4, learning_rate=1e-2, verbose=0)
    cells = pd.DataFrame({"kind": list("abc") * 4000, "n": 2})  # each row has a draw of its own
    share = np.exp(flow.log_prob(cells).to_numpy("float64")).reshape(-1, 3).mean(axis=0)
    share /= share.sum()
    gaps = pd.DataFrame({"kind": [None] * 3000, "n": 2})
    drawn = flow.impute(gaps, sweeps=12, candidates=2, seed=0).kind
    found = [(drawn == one).mean() for one in "abc"]
    assert found == pytest.approx(share, abs=0.035)  # 4 standard errors
