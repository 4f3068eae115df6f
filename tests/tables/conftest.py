"""A table whose density is known."""

import math

import numpy as np
import pandas as pd
import pytest
from keras import ops

from flowkit.contract import Bijector, BijectorSpec
from flowkit.data.typed_columns import TypedColumns
from flowkit.tables import TableFlow

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


@pytest.fixture(scope="session")
def covariance():
    return COVARIANCE


@pytest.fixture(scope="session")
def normal():
    """A flow whose density is normal with COVARIANCE."""
    rows = np.random.default_rng(0).multivariate_normal(np.zeros(3), COVARIANCE, 2000)
    flow = TableFlow(Whitening())
    flow.build((None, 3))
    flow.columns = TypedColumns.infer(pd.DataFrame(rows, columns=["a", "b", "c"]))
    return flow
