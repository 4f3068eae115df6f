"""What would train apart is refused before it begins."""

import numpy as np
import pytest

from flowkit import Flow
from flowkit.bijectors import Shift
from flowkit.engines import engine
from flowkit.flow import group

pytestmark = pytest.mark.one_engine


@pytest.fixture
def flow():
    flow = Flow(Shift())
    flow.build((None, 3))
    flow.compile("adam")
    return flow


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(13, 3)).astype("float32")


def test_two_processes_do_not_train_apart(flow, x, monkeypatch):
    monkeypatch.setattr(group, "started", lambda: False)
    monkeypatch.setattr(engine, "processes", lambda: 2)
    monkeypatch.setattr(engine, "trains_apart", lambda: True)
    with pytest.raises(RuntimeError, match="received a group of 2"):
        flow.fit(x, verbose=0)
