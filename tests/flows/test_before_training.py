"""What would train apart or not divide on several devices is refused before it begins."""

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


@pytest.mark.parametrize(
    "call",
    [
        lambda flow, x: flow.fit(x, batch_size=4, verbose=0),
        lambda flow, x: flow.fit(x[:12], batch_size=3, verbose=0),
        lambda flow, x: flow.evaluate(x, batch_size=4, verbose=0),
        lambda flow, x: flow.predict(x, batch_size=4, verbose=0),
        lambda flow, x: flow.fit(x[:12], batch_size=4, validation_data=x, verbose=0),
        lambda flow, x: flow.test_on_batch(x),
    ],
)
def test_a_batch_that_does_not_divide_is_refused_and_the_flow_goes_on(call, flow, x, monkeypatch):
    monkeypatch.setattr(group, "_devices_of_a_batch", lambda: 2)
    with pytest.raises(ValueError, match="share evenly"):
        call(flow, x)
    flow.fit(x[:12], batch_size=4, verbose=0)
    assert np.isfinite(flow.evaluate(x[:12], batch_size=6, verbose=0)).all()


def test_two_processes_do_not_train_apart(flow, x, monkeypatch):
    monkeypatch.setattr(group, "started", lambda: False)
    monkeypatch.setattr(engine, "processes", lambda: 2)
    monkeypatch.setattr(engine, "trains_apart", lambda: True)
    with pytest.raises(RuntimeError, match="received a group of 2"):
        flow.fit(x, verbose=0)
