"""Several threads and one flow: what runs at the same time, what waits, and what is refused."""

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from flowkit import Flow, evaluation, zoo
from flowkit.bijectors import Chain, Coupling, Permute
from flowkit.conditioners import MLP
from flowkit.flow.turns import Turns
from flowkit.transforms import Affine

pytestmark = pytest.mark.two_engines


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(64, 4)).astype("float32")


@pytest.fixture
def flow(x):
    flow = Flow(
        Chain(
            [
                Coupling(MLP([8]), Affine(min_scale=0.1)),
                Permute("reverse"),
                Coupling(MLP([8]), Affine(min_scale=0.1)),
            ]
        )
    )
    flow.compile("adam")
    return flow.adapt(x)


def elsewhere(call):
    """What `call` gives or raises in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(timeout=600)


class Meanwhile(keras.callbacks.Callback):
    """Calls something in the middle of training."""

    def __init__(self, call):
        super().__init__()
        self.call, self.seen = call, []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.call())


@pytest.mark.wide
@pytest.mark.parametrize(
    "name", ["log_prob", "encode", "decode", "evaluate", "fit", "adapt", "predict", "sample"]
)
def test_beside_training_another_thread_is_refused_clearly(flow, x, name):
    """On JAX the weights are not in the flow then."""

    def ask():
        with pytest.raises(RuntimeError, match=f"{name} expects a flow .* inside fit elsewhere"):
            elsewhere(lambda: getattr(flow, name)(3 if name == "sample" else x))
        return True

    meanwhile = Meanwhile(ask)
    flow.fit(x, batch_size=32, verbose=0, callbacks=[meanwhile])
    assert meanwhile.seen == [True, True]
    assert elsewhere(lambda: flow.log_prob(x)).shape == (64,)  # afterwards all is as before


def test_weights_are_not_taken_out_of_training_by_another_thread(flow, x):
    before = flow.get_weights()
    ways = {
        "get_weights": flow.get_weights,
        "set_weights": lambda: flow.set_weights(before),
        "save": lambda: copy.deepcopy(flow),
    }

    def ask():
        for name, way in ways.items():
            with pytest.raises(RuntimeError, match=f"{name} expects a flow .* inside fit elsewhere"):
                elsewhere(way)

    flow.fit(x, batch_size=32, verbose=0, callbacks=[Meanwhile(ask)])
    assert not np.array_equal(before[0], elsewhere(flow.get_weights)[0])


def test_the_training_thread_may_ask(flow, x):
    class AtTheEnd(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.answer = flow.log_prob(x), flow.sample(3), flow.evaluate(x, verbose=0)

    callback = AtTheEnd()
    flow.fit(x, verbose=0, callbacks=[callback])
    np.testing.assert_array_equal(callback.answer[0], flow.log_prob(x))


def test_training_waits_for_an_answer_that_is_under_way(flow, x):
    entered, go, order = threading.Event(), threading.Event(), []

    def slow():
        with flow.turns.answer("slow"):
            entered.set()
            go.wait(600)
            order.append("answer")

    with ThreadPoolExecutor(2) as pool:
        slowly = pool.submit(slow)
        entered.wait(600)
        training = pool.submit(lambda: (flow.fit(x, verbose=0), order.append("fit")))
        while flow.turns._alone is None:
            time.sleep(0.01)
        # Or answers could keep training waiting.
        with pytest.raises(RuntimeError, match="inside fit elsewhere"):
            flow.log_prob(x)
        go.set()
        slowly.result(600), training.result(600)
    assert order == ["answer", "fit"]


def test_an_answer_that_is_waited_for_may_ask_on(flow, x):
    entered, go = threading.Event(), threading.Event()

    def slow():
        with flow.turns.answer("slow"):
            entered.set()
            go.wait(600)
            return flow.log_prob(x)

    with ThreadPoolExecutor(2) as pool:
        slowly = pool.submit(slow)
        entered.wait(600)
        training = pool.submit(lambda: flow.fit(x, verbose=0))
        while flow.turns._alone is None:
            time.sleep(0.01)
        go.set()
        assert slowly.result(600).shape == (64,)
        training.result(600)


def test_answers_are_given_side_by_side(flow, x):
    expected = flow.log_prob(x)
    inside = threading.Barrier(2, timeout=600)  # both are inside at once, or it breaks

    def ask():
        with flow.turns.answer("ask"):
            inside.wait()
            return flow.log_prob(x)

    with ThreadPoolExecutor(2) as pool:
        for answer in [pool.submit(ask) for _ in range(2)]:
            np.testing.assert_array_equal(answer.result(600), expected)


def test_samples_without_a_seed_differ_in_every_thread(flow):
    flow.sample(4)
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: flow.sample(4), range(64)))
    assert len({sample.tobytes() for sample in drawn}) == 64


@pytest.mark.wide
@pytest.mark.parametrize("name", ["save", "save_weights"])
def test_a_flow_in_training_is_not_saved_from_elsewhere(flow, x, name, tmp_path):
    path = tmp_path / {"save": "f.keras", "save_weights": "f.weights.h5"}[name]
    getattr(flow, name)(path)
    before = path.read_bytes()
    with flow.turns.alone("fit"), pytest.raises(RuntimeError, match="save expects a flow"):
        elsewhere(lambda: getattr(flow, name)(path))
    if name == "save":  # Keras itself opens a file of weights
        assert path.read_bytes() == before


@pytest.mark.one_engine
def test_an_error_inside_gives_the_turn_back(flow, x):
    for call in (lambda: flow.fit(x[:, :3]), lambda: flow.log_prob(x[:, :3])):
        with pytest.raises(ValueError, match="made for"):
            call()
    flow.fit(x, verbose=0)
    assert elsewhere(lambda: flow.log_prob(x)).shape == (64,)


@pytest.mark.one_engine
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda flow: pickle.loads(pickle.dumps(flow))])
def test_a_copy_has_turns_of_its_own(flow, x, copied):
    with flow.turns.alone("fit"):
        other = copied(flow)
        expected = flow.log_prob(x)
        np.testing.assert_array_equal(elsewhere(lambda: other.log_prob(x)), expected)
    assert isinstance(copied(flow.turns), Turns)
    clone = Flow.from_config(flow.get_config())
    assert clone.turns is not flow.turns


@pytest.mark.one_engine
def test_level_bits_takes_its_turn():
    images = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 1), dtype="uint8")
    flow = zoo.glow(levels=2, steps=1, width=4).adapt(images)
    with flow.turns.alone("fit"), pytest.raises(RuntimeError, match="level_bits expects"):
        elsewhere(lambda: evaluation.level_bits(flow, images))
