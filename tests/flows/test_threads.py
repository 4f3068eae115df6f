"""Several threads and one flow: the second waits until the first has ended."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from flowkit import Flow, evaluation, zoo
from flowkit.bijectors import Chain, Coupling, Permute
from flowkit.conditioners import MLP
from flowkit.transforms import Affine

pytestmark = pytest.mark.two_engines


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(64, 4)).astype("float32")


@pytest.fixture
def flow(x):
    net = Affine(min_scale=0.1)
    flow = Flow(Chain([Coupling(MLP([8]), net), Permute("reverse"), Coupling(MLP([8]), net)]))
    flow.compile("adam")
    return flow.adapt(x)


def elsewhere(call):
    """What `call` gives or raises in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(timeout=60)


class Meanwhile(keras.callbacks.Callback):
    """Starts something in another thread in the middle of training, and notes if it ended before the training did."""

    def __init__(self, call):
        super().__init__()
        self.call, self.pool, self.asked, self.ended = call, ThreadPoolExecutor(4), [], []

    def on_train_batch_end(self, batch, logs=None):
        started = threading.Event()
        self.asked.append(self.pool.submit(lambda: (started.set(), self.call())[1]))
        started.wait(60)
        self.ended += [one.done() for one in self.asked]

    def answers(self):
        with self.pool:
            return [one.result(60) for one in self.asked]


@pytest.mark.parametrize("name", ["log_prob", "sample", "get_weights", "save"])
def test_another_thread_waits_until_training_has_ended(flow, x, name, tmp_path):
    calls = {
        "log_prob": lambda: flow.log_prob(x),
        "sample": lambda: flow.sample(64, seed=0),
        "get_weights": lambda: flow.get_weights()[0],
        "save": lambda: flow.save(tmp_path / "flow.keras"),
    }
    meanwhile = Meanwhile(calls[name])
    flow.fit(x, batch_size=32, verbose=0, callbacks=[meanwhile])
    assert meanwhile.ended == [False] * 3
    expected = calls[name]()
    for answer in meanwhile.answers():
        np.testing.assert_array_equal(answer, expected)


def test_training_waits_for_another_thread(x):
    entered, go, order = threading.Event(), threading.Event(), []

    class Slow(Permute):
        def _forward(self, x):
            entered.set()
            go.wait(60)
            order.append("log_prob")
            return super()._forward(x)

    class Noted(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            order.append("fit")

    flow = Flow(Chain([Slow("reverse"), Coupling(MLP([4]))]))
    flow.compile("adam")
    flow.build((None, 4))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: flow.log_prob(x))
        entered.wait(60)
        training = pool.submit(lambda: flow.fit(x, verbose=0, callbacks=[Noted()]))
        go.set()
        first.result(60), training.result(60)
    assert order.index("fit") > 0


def test_the_training_thread_may_use_the_flow(flow, x):
    class AtTheEnd(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.answer = flow.log_prob(x), flow.sample(3), flow.evaluate(x, verbose=0)

    callback = AtTheEnd()
    flow.fit(x, verbose=0, callbacks=[callback])
    np.testing.assert_array_equal(callback.answer[0], flow.log_prob(x))


def test_samples_without_a_seed_differ_in_every_thread(flow):
    flow.sample(4)
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: flow.sample(4), range(64)))
    assert len({sample.tobytes() for sample in drawn}) == 64


@pytest.mark.one_engine
def test_an_error_lets_other_threads_go_on(flow, x):
    for call in (lambda: flow.fit(x[:, :3]), lambda: flow.log_prob(x[:, :3])):
        with pytest.raises(ValueError, match="made for"):
            call()
    flow.fit(x, verbose=0)
    assert elsewhere(lambda: flow.log_prob(x)).shape == (64,)


@pytest.mark.one_engine
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda flow: pickle.loads(pickle.dumps(flow))])
def test_a_copy_waits_for_nothing(flow, x, copied):
    with flow.lock:
        other = copied(flow)
        expected = flow.log_prob(x)
        np.testing.assert_array_equal(elsewhere(lambda: other.log_prob(x)), expected)


@pytest.mark.one_engine
def test_level_bits_waits_too():
    images = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 1), dtype="uint8")
    flow = zoo.glow(levels=2, steps=1, width=4).adapt(images)
    with ThreadPoolExecutor(1) as pool:
        with flow.lock:
            waiting = pool.submit(lambda: evaluation.level_bits(flow, images))
            assert not waiting.done()
        np.testing.assert_array_equal(waiting.result(60), evaluation.level_bits(flow, images))
