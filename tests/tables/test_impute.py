"""Imputation: sweeps reach a known conditional density, and leave it as it is where log_prob is a bound."""

import math

import numpy as np
import pandas as pd
import pytest
from keras import ops

import flowkit
from flowkit.contract import Bijector, BijectorSpec
from flowkit.data.typed_columns import TypedColumns
from flowkit.tables import TableFlow

pytestmark = pytest.mark.one_engine
CORRELATION = 0.8
COVARIANCE = np.full((3, 3), CORRELATION) + (1 - CORRELATION) * np.eye(3)


class Whitening(Bijector):
    """z = x W, standard normal if x is normal with COVARIANCE."""

    spec = BijectorSpec(event_rank=1, log_det="constant")
    matrix = np.linalg.inv(np.linalg.cholesky(COVARIANCE)).T.astype("float32")
    log_det = -0.5 * math.log(np.linalg.det(COVARIANCE))

    def _forward(self, x):
        return ops.matmul(x, self.matrix), ops.full_like(x[:, 0], self.log_det)

    def _inverse(self, z):
        return ops.matmul(z, np.linalg.inv(self.matrix)), ops.full_like(z[:, 0], -self.log_det)


@pytest.fixture(scope="module")
def normal():
    """A flow whose density is normal with COVARIANCE."""
    rows = np.random.default_rng(0).multivariate_normal(np.zeros(3), COVARIANCE, 2000)
    flow = TableFlow(Whitening())
    flow.build((None, 3))
    flow.columns = TypedColumns.infer(pd.DataFrame(rows, columns=["a", "b", "c"]))
    return flow


@pytest.mark.parametrize("missing", [["c"], ["b", "c"]])
def test_five_sweeps_reach_a_known_conditional(normal, missing):
    rows = pd.DataFrame({"a": np.full(4000, 1.0), "b": 0.5, "c": 0.5})
    seen = [name for name in rows if name not in missing]
    rows[missing] = np.nan
    places, others = ([["a", "b", "c"].index(name) for name in names] for names in (missing, seen))
    gain = COVARIANCE[np.ix_(places, others)] @ np.linalg.inv(COVARIANCE[np.ix_(others, others)])
    mean = gain @ rows[seen].iloc[0].to_numpy()
    covariance = COVARIANCE[np.ix_(places, places)] - gain @ COVARIANCE[np.ix_(others, places)]
    drawn = normal.impute(rows, sweeps=5, seed=1)[missing].to_numpy()
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.03)  # 3 standard errors
    assert np.atleast_2d(np.cov(drawn.T)) == pytest.approx(covariance, abs=0.03)


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
