"""Scores of which each process has its part: those of one process, whatever the parts are."""

import numpy as np
import pytest

from flowkit import Flow, distributed
from flowkit.bijectors import Shift
from flowkit.flow.scoring import score_in_a_group

pytestmark = pytest.mark.one_engine


@pytest.fixture
def parts(monkeypatch):
    """`ask()` as each of `count` processes, whose own part alone comes back to it."""

    def asked(ask, count):
        came = []
        for rank in range(count):
            with monkeypatch.context() as patch:
                patch.setattr(distributed, "mine", lambda rows, rank=rank: np.array_split(rows, count)[rank])
                came.append(ask())
        return came

    return asked


def test_a_process_without_rows_asks_as_the_others_do(parts):
    flow = Flow(Shift(1.0))
    x = np.ones((2, 3), "float32")
    flow.adapt(x)
    came = parts(lambda: score_in_a_group(flow, x)[1], 3)
    assert [part.shape for part in came] == [(1,), (1,), (0,)]
    np.testing.assert_allclose(np.concatenate(came), -flow.log_prob(x), rtol=1e-6)
